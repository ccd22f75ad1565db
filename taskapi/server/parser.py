"""HTTP/1 request parser with caches for request lines and headers; unusual headers are parsed by gunicorn's own code.

tests/server/test_parser.py compares its requests and errors with those of gunicorn's RequestParser.
"""

from __future__ import annotations

from typing import Any

from gunicorn.http import message
from gunicorn.http.body import LengthReader
from gunicorn.http.parser import RequestParser

from .deadline_socket import DeadlineSocket
from .framing import LimitedRequest

Header = tuple[str, str]
"""Name in upper case, and value."""

CACHE_ENTRIES = 2048
"""Entries of each cache: parsed request lines, parsed header lines."""

MAX_CACHED_LINE = 512
"""Length (bytes) from which a line is not cached: both caches take 7 MB of a worker at most."""

CREDENTIALS = frozenset({"AUTHORIZATION", "PROXY-AUTHORIZATION", "COOKIE"})
"""Headers that are not cached, so that a memory dump of the cache holds no credentials."""

MAX_CACHED_QUERY = 64
"""Length (characters) from which a query string is not cached: a client may have put a token into it."""

MAX_DRAIN_BYTES = 1024 * 1024
"""Bytes of an unread request body that are received so that the connection can be reused, or closed without a reset."""

DRAIN_CHUNK_BYTES = 64 * 1024
"""Bytes of an unread request body that are received at a time."""


class FastRequest(LimitedRequest):
    """gunicorn's Request with cached lines; checks once per connection whether the peer is a trusted proxy."""

    def parse_request_line(self, line: bytes) -> None:
        """Set method, URI, path, query, fragment and version from the request line, or from the cache of lines.

        Raises gunicorn's errors. A long line (`MAX_CACHED_LINE`) or query (`MAX_CACHED_QUERY`) is not cached.
        """
        self.__dict__.update(_request_line_cache.get(line) or _parse_request_line(line, self.cfg))

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[Header]:  # noqa: FBT001, FBT002
        """Return the headers of these lines, parsed or cached; gunicorn's header policy is applied in each request.

        gunicorn's own code parses trailers, and lines that are malformed, too long or too many. Raises gunicorn's
        errors.
        """
        lines = data.split(b"\r\n")
        if from_trailer or len(lines) > self.limit_request_fields:
            return self._parse_uncached(data, from_trailer)
        longest = max(map(len, lines)) + len(b"\r\n")
        parsed = [_header_cache.get(line) or _parse_header(line) for line in lines]
        if None in parsed or longest > self.limit_request_field_size:
            return self._parse_uncached(data, from_trailer)
        apply_policy, scheme_state, seen = self._apply_header_policy, [False], set[str]()
        secure, forwarder = self._peer_trusted_for_forwarded()
        headers = [
            apply_policy(name, value, scheme_state, seen, secure, forwarder) for name, value in filter(None, parsed)
        ]
        return [*filter(None, headers)] if None in headers else headers

    def _parse_uncached(self, data: bytes, from_trailer: bool) -> list[Header]:  # noqa: FBT001
        """Parse all header or trailer lines with gunicorn's own code, whose errors it raises; caches nothing."""
        headers: list[Header] = super().parse_headers(data, from_trailer)
        return headers

    def _peer_is_trusted_proxy(self) -> bool:
        """Return True if the peer is in `forwarded_allow_ips`; checked once per connection, not for each request."""
        connection = self.unreader.sock
        if connection.is_trusted is None:
            connection.is_trusted = super()._peer_is_trusted_proxy()
        return bool(connection.is_trusted)


def _parse_header(line: bytes) -> Header | None:
    """Return name and value of a well-formed header line; None for any other line.

    Caches the line, unless it is long or holds a credential.
    """
    name, colon, value = line.decode("latin-1").partition(":")
    value = value.strip(" \t")
    if not (colon and message.TOKEN_RE.fullmatch(name)) or message.RFC9110_5_5_INVALID_AND_DANGEROUS.search(value):
        return None
    header = name.upper(), value
    if header[0] not in CREDENTIALS:
        _add_to_cache(_header_cache, line, header)
    return header


def _parse_request_line(line: bytes, cfg: Any) -> dict[str, Any]:
    """Return the attributes that gunicorn sets from a request line, or raise its errors.

    Caches them, unless the line or its query is long.
    """
    request: Any = object.__new__(message.Request)
    request.cfg = cfg
    message.Request.parse_request_line(request, line)
    attributes = {name: value for name, value in vars(request).items() if name != "cfg"}
    if len(request.query) < MAX_CACHED_QUERY:
        _add_to_cache(_request_line_cache, line, attributes)
    return attributes


# Per process: a worker has one configuration.
_header_cache: dict[bytes, Header] = {}
_request_line_cache: dict[bytes, dict[str, Any]] = {}


def _add_to_cache(cache: dict[bytes, Any], line: bytes, parsed: Any) -> None:
    """Add an entry, unless its line has `MAX_CACHED_LINE` bytes or more; a full cache drops its oldest entry (FIFO)."""
    if len(line) < MAX_CACHED_LINE:
        if len(cache) >= CACHE_ENTRIES:
            del cache[next(iter(cache))]
        cache[line] = parsed


class FastParser(RequestParser):
    """Iterator over the requests of a connection (a DeadlineSocket); receives an unread body up to MAX_DRAIN_BYTES.

    gunicorn's RequestParser would receive any amount, a kilobyte at a time, without a switch to other clients.
    """

    mesg_class = FastRequest

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:  # noqa: ARG002
        """Receive the rest of a body that the application did not read; return True if the connection can be reused.

        It cannot if a read of the body has failed or `MAX_DRAIN_BYTES` did not complete it. The parameters are unused.
        Raises gunicorn's errors for malformed chunks.
        """
        return not self.mesg or drain_body(self.mesg, self.unreader.sock)


def has_unread_body(request: message.Request) -> bool:
    """Return True if a part of the body was not read, or may not have been (chunked)."""
    body = request.body
    return bool(body) and not (isinstance(body.reader, LengthReader) and not body.reader.length)


def drain_body(request: message.Request, connection: DeadlineSocket) -> bool:
    """Receive and discard the unread rest of a body, up to `MAX_DRAIN_BYTES`; return True if it is complete.

    Raises gunicorn's errors for malformed chunks.
    """
    if not has_unread_body(request):
        return True
    body = request.body
    connection.request_started()  # the request's deadline applies again while the rest of its body is received
    remaining = MAX_DRAIN_BYTES
    while remaining > 0 and not body.failed:
        received = len(body.read(DRAIN_CHUNK_BYTES))
        if not received:
            connection.request_finished()
            return True
        remaining -= received
    return False
