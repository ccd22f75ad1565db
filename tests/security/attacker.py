"""Somebody with a socket: bytes go out as they are, and every answer is read to its end."""

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
"""Stands in what is sent and must not come back; the tables that are imported have it too."""

DEADLINE = 30.0
"""Seconds for a whole exchange: nothing here takes one, but the machine may be busy."""

_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_=+/-]*(?:\.[A-Za-z0-9_=+/-]*){1,4}")
_RUN = re.compile(rb"[A-Za-z0-9_-]{40,}")
LONG_ENOUGH = 16
"""Characters of a part of a token that cannot be in an answer by chance."""

Headers = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Reply:
    """One answer on a connection."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def essence(self) -> tuple[int, str | None, str | None, Any]:
        """What a client acts upon; neither the request's name nor the time."""
        body = self.body.replace((self.headers.get("X-Request-Id") or "-").encode(), b"-")
        return self.status, self.headers["Content-Type"], self.headers["ETag"], body


class _Stream(io.BytesIO):
    """All bytes of a connection, from which one answer after the other is read."""

    def makefile(self, *_: Any) -> _Stream:
        return self

    def close(self) -> None:
        """Stay open: an answer closes its connection when it ends, and another may follow."""


def exchange(port: int, sent: bytes, *, end: bool = True) -> tuple[list[Reply], bytes]:
    """Send bytes and, with `end`, no more; all answers until the server closes, and their bytes."""
    received = bytearray()
    deadline = time.monotonic() + DEADLINE
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        with suppress(OSError):  # refused before it was all said
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # closed on bytes that it did not want
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
    """A request in due form, but for what is put into it."""
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
    """What of the bytes sent nobody may ever see again: tokens, each part of them, and the canary."""
    found = {CANARY.encode(), SECRET.encode()}
    for token in _TOKEN.findall(sent):
        found |= {part for part in (token, *token.split(b".")) if len(part) >= LONG_ENOUGH}
    # Half a token is none by its form, but has a signature in it; what only fills up has few letters.
    return found | {run for run in _RUN.findall(sent) if len(set(run)) > LONG_ENOUGH}


@dataclass
class System:
    """The service under attack, with the keys of its issuer: the attacker has some of them, alice and mallory all."""

    port: int
    log: Path
    signers: dict[str, Signer]
    key_server: KeyServer
    database: sqlite3.Connection

    def send(self, sent: bytes, *, end: bool = True) -> list[Reply]:
        """All answers, which show nothing of what was sent in secret."""
        replies, received = exchange(self.port, sent, end=end)
        shown = [secret for secret in secrets_in(sent) if secret in received]
        assert not shown, f"the answer shows {shown}: {received!r}"
        assert b"Traceback" not in received
        return replies

    def ask(self, sent: bytes) -> Reply:
        """The one answer to one request."""
        (reply,) = self.send(sent)
        return reply

    def claims(self, *without: str, **changes: Any) -> dict[str, Any]:
        """What a good token of alice's says; claims that are named only are left out."""
        now = int(time.time())
        good = {"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600}
        return {name: value for name, value in {**good, **changes}.items() if name not in without}

    def signed(self, header: dict[str, Any], *without: str, **changes: Any) -> str:
        """Signed with the shared secret, under any header."""
        return compact({"alg": "HS256", **header}, self.claims(*without, **changes), hs256())

    def token(self, user: str, **changes: Any) -> str:
        """A good token."""
        return self.signed({"typ": "JWT"}, sub=user, **changes)

    def of(self, user: str, path: str = "/tasks", **options: Any) -> Reply:
        """The answer to a user's own request."""
        return self.ask(request(f"/api/{quote(user, safe='')}{path}", bearer=self.token(user), **options))

    def commits(self) -> int:
        """A number that is another one after any commit by anybody, for SQLite knows."""
        (version,) = self.database.execute("PRAGMA data_version").fetchone()
        return int(version)

    def data(self) -> list[Any]:
        """Everything that alice and mallory have."""
        return [self.of(user, "/export").json for user in ("alice", "mallory")]


@dataclass(frozen=True)
class Attack:
    """What is sent, and how it must be refused: `code` is the problem's, None for a page of gunicorn's own.

    `reason` is what the challenge of a 401 says of the token, None where no token came.
    """

    make: Callable[[System], bytes]
    status: int
    code: str | None
    reason: str | None = None


def assert_fails(system: System, attack: Attack) -> None:
    """One answer, the exact refusal, nothing shown, and nothing changed."""
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
    """A problem document that every client can read."""
    assert reply.headers["Content-Type"] == PROBLEM, reply
    body = reply.json
    assert (body["type"], body["status"], body["code"]) == (f"/problems/{code}", status, code)
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def challenges(attack: Attack) -> list[str]:
    """The `WWW-Authenticate` that a refusal has."""
    if attack.status != 401:
        return []
    if attack.reason is None:
        return [CHALLENGE]
    return [f'{CHALLENGE}, error="invalid_token", error_description="{attack.reason}"']


def raw_bytes(text: str) -> bytes:
    """base64url without padding, decoded."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
