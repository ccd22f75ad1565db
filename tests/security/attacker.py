"""An attacker with a socket: sends bytes unchanged and reads every response to its end."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import sqlite3
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.auth.issuer import Signer, compact, hs256
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET

ISSUER = "https://app.example.com"
AUDIENCE = "tasks-api"
JSON = "application/json"
PROBLEM = "application/problem+json"
CHALLENGE = 'Bearer realm="taskapi"'
CANARY = "c4n4ry"
"""Text in requests that no response and no log may contain; tables imported from other tests contain it too."""

DEADLINE = 60.0
"""Seconds for an exchange; a limit of the tests."""

_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_=+/-]*(?:\.[A-Za-z0-9_=+/-]*){1,4}")
_RUN = re.compile(rb"[A-Za-z0-9_-]{40,}")
MIN_SECRET_LENGTH = 16
"""Characters of a part of a token from which on it cannot occur in a response by chance."""

Headers = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Reply:
    """One response on a connection."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def essence(self) -> tuple[int, str | None, str | None, Any]:
        """Status, media type, ETag and body without the request id, for comparing responses."""
        body = self.body.replace((self.headers.get("X-Request-Id") or "-").encode(), b"-")
        return self.status, self.headers["Content-Type"], self.headers["ETag"], body


class _Stream(io.BytesIO):
    """All bytes of a connection, from which http.client reads one response after the other."""

    def makefile(self, *_: Any) -> _Stream:
        return self

    def close(self) -> None:
        """Do nothing: HTTPResponse closes the stream after one response, and another may follow."""


def send_and_receive(port: int, sent: bytes, *, end: bool = True) -> tuple[list[Reply], bytes]:
    """Send bytes, and FIN with `end`; return all responses until the server closes, and their bytes."""
    received = bytearray()
    deadline = time.monotonic() + DEADLINE
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        with suppress(OSError):  # the server refused the request before all of it was sent
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # the server closed the connection with unread bytes
            while piece := connection.recv(65536):
                received += piece
                connection.settimeout(max(0.001, deadline - time.monotonic()))
    return _replies(bytes(received)), bytes(received)


def _replies(received: bytes) -> list[Reply]:
    stream, replies = _Stream(received), []
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream)
        response.begin()
        replies.append(Reply(response.status, response.headers, response.read()))
    return replies


def request(
    target: str | bytes,
    *,
    method: str = "GET",
    bearer: str | bytes | None = None,
    headers: Headers = (),
    body: bytes = b"",
    content_type: str | None = JSON,
) -> bytes:
    """Return the bytes of a request; the arguments are inserted without validation."""
    lines: list[tuple[str, str | bytes]] = [("Host", "localhost"), ("Connection", "close")]
    if bearer is not None:
        lines.append(("Authorization", b"Bearer " + _raw(bearer)))
    if body:
        lines.append(("Content-Length", str(len(body))))
    if body and content_type is not None:
        lines.append(("Content-Type", content_type))
    head = b"%s %s HTTP/1.1\r\n" % (method.encode(), _raw(target))
    return head + b"".join(b"%s: %s\r\n" % (_raw(n), _raw(v)) for n, v in [*lines, *headers]) + b"\r\n" + body


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def secrets_in(sent: bytes) -> set[bytes]:
    """Return the secrets in sent bytes: tokens, their parts, the shared secret and the canary."""
    found = {CANARY.encode(), SECRET.encode()}
    for token in _TOKEN.findall(sent):
        found |= {part for part in (token, *token.split(b".")) if len(part) >= MIN_SECRET_LENGTH}
    # Half a token does not match the pattern but contains a signature; padding has few different characters.
    return found | {run for run in _RUN.findall(sent) if len(set(run)) > MIN_SECRET_LENGTH}


@dataclass
class System:
    """The attacked service, the keys of its issuer and its database; tests sign tokens of alice and mallory."""

    port: int
    log: Path
    signers: dict[str, Signer]
    key_server: KeyServer
    database: sqlite3.Connection

    def send(self, sent: bytes, *, end: bool = True) -> list[Reply]:
        """Send bytes; return all responses. AssertionError if they contain a secret from the request or a traceback."""
        replies, received = send_and_receive(self.port, sent, end=end)
        shown = [secret for secret in secrets_in(sent) if secret in received]
        assert not shown, f"the answer shows {shown}: {received!r}"
        assert b"Traceback" not in received
        return replies

    def ask(self, sent: bytes) -> Reply:
        """Send one request; return its only response."""
        (reply,) = self.send(sent)
        return reply

    def claims(self, *without: str, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token of alice with `changes`, without the claims named in `without`."""
        now = int(time.time())
        good = {"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600}
        return {name: value for name, value in {**good, **changes}.items() if name not in without}

    def signed(self, header: dict[str, Any], *without: str, **changes: Any) -> str:
        """Return a token signed with the shared secret, with any header."""
        return compact({"alg": "HS256", **header}, self.claims(*without, **changes), hs256())

    def token(self, user: str, **changes: Any) -> str:
        """Return a valid token of a user."""
        return self.signed({"typ": "JWT"}, sub=user, **changes)

    def of(self, user: str, path: str = "/tasks", **options: Any) -> Reply:
        """Send a request of a user to the own path; return the response."""
        return self.ask(request(f"/api/{quote(user, safe='')}{path}", bearer=self.token(user), **options))

    def commits(self) -> int:
        """Return a number that changes with every commit of another connection (PRAGMA data_version)."""
        (version,) = self.database.execute("PRAGMA data_version").fetchone()
        return int(version)

    def data(self) -> list[Any]:
        """Return the exports of alice and mallory."""
        return [self.of(user, "/export").json for user in ("alice", "mallory")]


@dataclass(frozen=True)
class Attack:
    """A request and how it must be refused.

    `code` is that of the problem document, None for an error page of gunicorn; `reason` is the `error_description` of the
    challenge of a 401, None for a request without a token.
    """

    make: Callable[[System], bytes]
    status: int
    code: str | None
    reason: str | None = None


def assert_fails(system: System, attack: Attack) -> None:
    """Assert that an attack gets one response, exactly its refusal, without secrets, and that no data changed."""
    before = system.commits()
    reply = system.ask(attack.make(system))
    assert reply.status == attack.status, reply
    assert "Access-Control-Allow-Origin" not in reply.headers
    if attack.code is None:
        assert reply.headers["Content-Type"] == "text/html"
        assert reply.headers["Connection"] == "close"
    else:
        assert reply.status < 500
        assert_is_problem(reply, attack.status, attack.code)
    assert reply.headers.get_all("WWW-Authenticate", []) == challenges(attack)
    assert system.commits() == before


def assert_is_problem(reply: Reply, status: int, code: str) -> None:
    """Assert that a response is a complete problem document with this status and code."""
    assert reply.headers["Content-Type"] == PROBLEM, reply
    body = reply.json
    assert (body["type"], body["status"], body["code"]) == (f"/problems/{code}", status, code)
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def challenges(attack: Attack) -> list[str]:
    """Return the `WWW-Authenticate` headers of a refusal."""
    if attack.status != 401:
        return []
    if attack.reason is None:
        return [CHALLENGE]
    return [f'{CHALLENGE}, error="invalid_token", error_description="{attack.reason}"']


def raw_bytes(text: str) -> bytes:
    """Decode base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
