"""Responses: JSON, 204, 304 and streamed files; the headers that every response has."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import orjson
from flask import Flask, Request, Response, stream_with_context
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from .request_id import HEADER, request_id
from .routing import current_request

STREAM_TIMEOUT = 300
"""Seconds from the first byte of a streamed response to the last; then the connection is closed."""

_EXTRA_HEADERS = "taskapi.extra_headers"
"""Key of the WSGI environ for the headers of `add_response_headers`."""


def init_app(app: Flask) -> None:
    """Register the hook that adds the common headers to every response, errors and 304 included."""
    app.after_request(_add_common_headers)


def add_response_headers(request: Request, *headers: tuple[str, str]) -> None:
    """Add these headers to the response of a request, whatever its status, in place of those of an earlier call."""
    request.environ[_EXTRA_HEADERS] = headers


def _add_common_headers(response: Response) -> Response:
    """Add X-Request-Id, X-Content-Type-Options, Cache-Control, Vary and the extra headers (after_request hook).

    A Cache-Control that is set stays; a Vary that is set is extended.
    """
    headers, current = response.headers, current_request()
    # One pass: `in` and `setdefault` of Werkzeug's Headers search all headers for each name.
    present = {name.lower() for name, _ in headers}
    added = [(HEADER, request_id(current)), ("X-Content-Type-Options", "nosniff")]
    if "cache-control" not in present:
        # Errors are temporary. Other responses may be stored by the user's browser, which revalidates them each time;
        # with an unchanged ETag that is a cheap 304.
        added.append(("Cache-Control", "no-store" if response.status_code >= 400 else "private, no-cache"))
    # Caches must keep one entry per user and per origin.
    if "vary" not in present:
        added.append(("Vary", "Authorization, Origin"))
    else:
        response.vary.update(("Authorization", "Origin"))
    added += current.environ.get(_EXTRA_HEADERS, ())
    if isinstance(headers, _FastHeaders):
        headers.append_checked(added)
    else:
        headers.extend(added)
    return response


class _FastHeaders(Headers):
    """Headers whose `extend` checks and appends a list in one pass; Werkzeug's adds and checks one after the other."""

    def extend(self, headers: Any = None, /, **others: Any) -> None:
        """Append headers; leave anything but a list of pairs without newlines to Werkzeug (ValueError for newlines)."""
        values = "".join([value for _, value in headers]) if isinstance(headers, list) else "\n"
        if others or "\r" in values or "\n" in values:
            super().extend(headers, **others)
        else:
            self._list += headers

    def append_checked(self, headers: list[tuple[str, str]]) -> None:
        """Append headers whose values are the service's own, or checked: none has a newline."""
        self._list += headers


class FastResponse(Response):
    """A response that is sent as it is: it has all headers that Werkzeug's get_wsgi_headers would compute.

    That is, a Content-Length, no Content-Type without content, and ASCII in Location.
    """

    default_mimetype = None  # without it Werkzeug would add `text/html` to 204 and 304
    size = 0
    """Bytes of the body."""
    _has_callbacks = False

    def __init__(self, status: int, headers: Sequence[tuple[str, str]] = (), body: Iterable[bytes] = ()) -> None:
        # Sets what Werkzeug's constructors set: they look for a Content-Type, and look the status up, each time.
        self.headers = _FastHeaders(headers)
        self._status, self._status_code = _status_line(status)
        self.response, self.direct_passthrough = body, False
        self._on_close: list[Callable[[], Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Start the response with its headers and return the body (WSGI application); no body for HEAD."""
        start_response(self.status, self.headers.to_wsgi_list())
        body = () if environ["REQUEST_METHOD"] == "HEAD" else self.iter_encoded()
        return ClosingIterator(body, self.close) if self._has_callbacks else body

    def call_on_close(self, func: Callable[[], Any]) -> Callable[[], Any]:
        """Register a function to call when the response is sent or its connection is closed; return the function."""
        self._has_callbacks = True
        return super().call_on_close(func)


@cache
def _status_line(status: int) -> tuple[str, int]:
    """Return the status as text, such as `200 OK`, and as a number; cached: the service has some twenty."""
    response = Response(status=status)
    return response.status, response.status_code


def json_response(
    data: Any, status: int = 200, *, etag: str | None = None, headers: Mapping[str, str] | None = None
) -> FastResponse:
    """Return `data` as a JSON response, serialized with orjson; `etag` includes its quotes."""
    body = orjson.dumps(data)
    all_headers = [*headers.items()] if headers else []
    all_headers += ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
    if etag is not None:
        all_headers.append(("ETag", etag))
    response = FastResponse(status, all_headers, [body])
    response.size = len(body)
    return response


def not_modified(etag: str) -> FastResponse:
    """Return 304 Not Modified with the ETag: the client has the current version (RFC 9110, section 15.4.5)."""
    return FastResponse(304, [("ETag", etag)])


def no_content() -> Response:
    """Return 204 No Content (RFC 9110, section 15.3.5)."""
    return FastResponse(204)


def stream(chunks: Iterable[bytes], media_type: str, *, filename: str) -> Response:
    """Return a file download (200, attachment) that is streamed while `chunks` generates it.

    The first chunk is generated here, so an exception up to then still becomes an error response. A later exception,
    and `STREAM_TIMEOUT`, close the connection before the end of the stream.
    """
    source = iter(chunks)
    first = next(source, b"")
    response = Response(stream_with_context(_with_timeout(chain((first,), source))), content_type=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _with_timeout(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks; raise ConnectionResetError instead of one that is made after `STREAM_TIMEOUT` seconds."""
    deadline = time.monotonic() + STREAM_TIMEOUT
    for chunk in chunks:
        if time.monotonic() > deadline:
            # The error of a client that disconnected: the server closes the connection before the end of the stream.
            raise ConnectionResetError(errno.ECONNRESET, "the client reads too slowly")
        yield chunk
