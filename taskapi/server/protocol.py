"""HTTP on the wire: gunicorn's own reading and writing, without finding out for each request what is always the same.

Uncommon input is left to gunicorn. tests/server/test_protocol.py compares both, byte for byte.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn import http, util
from gunicorn.http import errors, message, wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.parser import RequestParser

from .framing import ChunkedReader, RequestHead

Field = tuple[str, str]
"""A header: its name and its value."""

CACHE_ENTRIES, MAX_CACHED_LINE = 2048, 512
"""So many first lines of requests, and as many others, are kept with what they say, if they are shorter than so many
bytes: 7 MB of a worker at most."""

CREDENTIALS, MAX_CACHED_QUERY = frozenset({"AUTHORIZATION", "PROXY-AUTHORIZATION", "COOKIE"}), 64
"""Headers that are not kept, nor is a query of so many characters, into which somebody may have put a token: whoever
reads this memory finds nothing to sign in with."""

MAX_DRAIN_BYTES, DRAIN_CHUNK_BYTES = 1024 * 1024, 64 * 1024
"""Bytes of a refused body that are received so that the connection can go on, in such pieces; with more it ends."""

JOINED = 64 * 1024
"""Bytes of a piece of a response up to which it is sent together with the head, in one system call."""

FRAMING = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING"})
"""Headers that say how long a body is. Without them there is none (RFC 9112, section 6.3)."""


class FastRequest(RequestHead):
    """As gunicorn's; where it comes from is judged once for a connection, and what follows it once for a request."""

    _closes: bool | None = None

    def should_close(self) -> bool:
        """Whether the connection ends with it."""
        closes = self._closes
        if closes is None:
            closes = self._closes = bool(super().should_close())
        return closes or bool(self.must_close)

    def parse_request_line(self, line: bytes) -> None:
        """Read the first line; what it says is remembered, too."""
        self.__dict__.update(_request_line_cache.get(line) or _parse_request_line(line, self.cfg))

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[Field]:  # noqa: FBT001, FBT002
        """Read the lines that a client sends again and again: what they say is remembered, and judged each time."""
        lines = data.split(b"\r\n")
        if from_trailer or len(lines) > self.limit_request_fields:
            return self._parse_slowly(data, from_trailer)
        longest = max(map(len, lines)) + len(b"\r\n")
        fields = [_header_cache.get(line) or _parse_header(line) for line in lines]
        if None in fields or longest > self.limit_request_field_size:
            return self._parse_slowly(data, from_trailer)
        judge, repeated, seen = self._apply_header_policy, [False], set[str]()
        secure, forwarder = self._peer_trusted_for_forwarded()
        headers = [judge(name, value, repeated, seen, secure, forwarder) for name, value in filter(None, fields)]
        return [*filter(None, headers)] if None in headers else headers

    def _parse_slowly(self, data: bytes, from_trailer: bool) -> list[Field]:  # noqa: FBT001
        headers: list[Field] = super().parse_headers(data, from_trailer)
        return headers

    def set_body_reader(self) -> None:
        """Find out what there is of a body."""
        if FRAMING.isdisjoint([name for name, _ in self.headers]):
            self.body = Body(LengthReader(self.unreader, 0))
        else:
            super().set_body_reader()
            if not isinstance(self.body.reader, LengthReader):
                self.body = Body(ChunkedReader(self, self.unreader))

    def _peer_is_trusted_proxy(self) -> bool:
        connection = self.unreader.sock
        if connection.is_trusted is None:
            connection.is_trusted = super()._peer_is_trusted_proxy()
        return bool(connection.is_trusted)


def _parse_header(line: bytes) -> Field | None:
    """A header that stands in a line as it should; None for anything else. Most are remembered."""
    name, colon, value = line.decode("latin-1").partition(":")
    value = value.strip(" \t")
    if not (colon and message.TOKEN_RE.fullmatch(name)) or message.RFC9110_5_5_INVALID_AND_DANGEROUS.search(value):
        return None
    field = name.upper(), value
    if field[0] not in CREDENTIALS:
        _cache(_header_cache, line, field)
    return field


def _parse_request_line(line: bytes, cfg: Any) -> dict[str, Any]:
    """What gunicorn knows after the first line; raises what it does. Most are remembered."""
    request: Any = object.__new__(message.Request)
    request.cfg = cfg
    message.Request.parse_request_line(request, line)
    start = {name: value for name, value in vars(request).items() if name != "cfg"}
    if len(request.query) < MAX_CACHED_QUERY:
        _cache(_request_line_cache, line, start)
    return start


# Of this process, which has one configuration.
_header_cache: dict[bytes, Field] = {}
_request_line_cache: dict[bytes, dict[str, Any]] = {}


def _cache(memory: dict[bytes, Any], line: bytes, said: Any) -> None:
    if len(line) < MAX_CACHED_LINE:
        if len(memory) >= CACHE_ENTRIES:
            del memory[next(iter(memory))]
        memory[line] = said


class FastParser(RequestParser):
    """As gunicorn's; it looks for the rest of a body only if there is one, and not for ever.

    Gunicorn would receive all that comes, a kilobyte at a time, and answer nobody else meanwhile.
    """

    mesg_class = FastRequest

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:  # noqa: ARG002
        """Receive what the application has left of a body; whether that was all of it."""
        body = self.mesg and self.mesg.body
        if not body or (isinstance(body.reader, LengthReader) and not body.reader.length):
            return True
        client, left = self.unreader.sock, MAX_DRAIN_BYTES
        client.asked()  # its deadline runs while the rest of the body is received, and no longer
        while left > 0 and not body.failed:
            received = len(body.read(DRAIN_CHUNK_BYTES))
            if not received:
                client.answered()
                return True
            left -= received
        return False


class FastResponse(wsgi.Response):
    """As gunicorn's; the name of a header is looked at once, and the head goes with the first piece of the body."""

    headers_sent: bool
    _held = b""
    """The head, until then."""
    _resets = False

    def process_headers(self, headers: Iterable[Field]) -> None:
        """Take the headers of the application; raises for what would break out of its line."""
        is_value, keep = wsgi.HEADER_VALUE_RE.fullmatch, self.headers.append
        for name, value in headers:
            if _is_plain(name) and isinstance(value, str) and is_value(value):
                keep((name, value.strip(" \t")))
            else:
                super().process_headers([(name, value)])

    def send_headers(self) -> None:
        """Make the head, once."""
        if not self.headers_sent:
            lines = [*self.default_headers(), *[f"{name}: {value}\r\n" for name, value in self.headers], "\r\n"]
            self._held = "".join(lines).encode("latin-1")
            self.headers_sent = True
            if self.response_length is None and not self._omits_body:
                self._reset_on_close(True)

    def _emit_body(self, data: bytes) -> None:
        held, self._held = self._held, b""
        if len(data) > JOINED:
            self._send_long(held, data)
            return
        framed = b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data
        self.sock.sendall(held + framed if held else framed)

    def _send_long(self, held: bytes, data: bytes) -> None:
        """Send without a copy of the data, which would be in memory too for as long as the client does not read."""
        before, after = (held + b"%X\r\n" % len(data), b"\r\n") if self.chunked else (held, b"")
        for part in filter(None, (before, data, after)):
            self.sock.sendall(part)

    def can_sendfile(self) -> bool:
        """Not past the head."""
        return False

    def close(self) -> None:
        """Send what is left."""
        self.send_headers()
        if self._held:
            self.sock.sendall(self._held)
        if self.chunked:
            self.sock.sendall(b"0\r\n\r\n")
        if self._resets:
            self._reset_on_close(False)

    def _reset_on_close(self, resets: bool) -> None:  # noqa: FBT001
        """Let the kernel reset the connection if it is closed before the response is complete (SO_LINGER).

        The end of the connection ends a response of HTTP/1.0: without a reset, half of one would look complete. The
        kernel does it even if the process is killed.
        """
        self._resets = resets
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", resets, 0))


@lru_cache(maxsize=256)
def _is_plain(name: Any) -> bool:
    """Whether it is the name of a header, and of none that gunicorn minds itself."""
    return (
        isinstance(name, str)
        and wsgi.TOKEN_RE.fullmatch(name) is not None
        and name.lower() != "content-length"
        and not util.is_hoppish(name)
    )


class _Errors:
    """`wsgi.errors`: the streams of the error log, as they are when something is written; they may be opened anew."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(wsgi.WSGIErrorsWrapper(self._cfg), name)


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(maxsize=256)
def _environ_name(name: str) -> str:
    """What a header is called in an environ (PEP 3333); nothing if gunicorn takes it for more than a header."""
    variable = name.replace("-", "_")
    return "" if name == "SCRIPT_NAME" else variable if variable in _BARE else "HTTP_" + variable


_BARE = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


def _build_environ(
    same: Mapping[str, Any], request: FastRequest, connection: Any, client: tuple[str, int], server: tuple[str, int]
) -> dict[str, Any] | None:
    """What an application is told of a request; None if there is more to it than that."""
    environ = {
        **same,
        "wsgi.input": request.body,
        "wsgi.url_scheme": request.scheme,
        "gunicorn.socket": connection,
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "SCRIPT_NAME": "",
        "PATH_INFO": util.unquote_to_wsgi_str(request.path),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
    }
    for name, value in request.headers:
        variable = _environ_name(name)
        if not variable:
            return None
        environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
    return environ


def install_fast_http() -> None:
    """Let gunicorn use these; what is the same for all requests, or for all of a second, is made once."""
    create, below = wsgi.create, os.environ.get("SCRIPT_NAME")

    @lru_cache(maxsize=1)
    def same(cfg: Any) -> dict[str, Any]:
        return {**wsgi.base_environ(cfg), "wsgi.errors": _Errors(cfg)}

    def make(request: Any, connection: Any, client: Any, server: Any, cfg: Any, **other: Any) -> tuple[Any, Any]:
        waits = request._expected_100_continue  # noqa: SLF001  gunicorn has no other word for it
        is_tcp = isinstance(client, tuple) and isinstance(server, tuple)
        if is_tcp and not (below or other or waits or request.proxy_protocol_info):
            environ = _build_environ(same(cfg), request, connection, client, server)
            if environ is not None:
                return FastResponse(request, connection, cfg), environ
        made: tuple[Any, Any] = create(
            request, connection, client, server, cfg, **{"response_class": FastResponse, **other}
        )
        return made

    http.RequestParser = FastParser
    wsgi.create = make
    util.http_date = lambda timestamp=None: _http_date(int(time.time() if timestamp is None else timestamp))


def redact_parse_errors() -> None:
    """Let gunicorn name a fault and no more, in its page and in its log: what it quotes may be a token."""
    for refusal in vars(errors).values():
        if isinstance(refusal, type) and refusal.__module__ == errors.__name__:
            type.__setattr__(refusal, "__str__", lambda refused: type(refused).__name__)
