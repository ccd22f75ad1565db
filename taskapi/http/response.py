"""What every answer carries, and how data becomes one."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
from flask import Flask, Request, Response, request, stream_with_context
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from .request_id import HEADER, request_id
from .routing import unproxy

STREAM_TIMEOUT = 300
"""Seconds from the first byte of a stream to its last: a client that reads slower is cut off."""

_EXTRA_HEADERS = "taskapi.also"


def init_app(app: Flask) -> None:
    """Put the headers of every answer on it, errors and 304 included."""
    app.after_request(_add_common_headers)


def add_response_headers(asked: Request, *lines: tuple[str, str]) -> None:
    """Put these headers on the answer to a request, whatever it will be."""
    asked.environ[_EXTRA_HEADERS] = lines


def _add_common_headers(response: Response) -> Response:
    headers, asked = response.headers, unproxy(request)
    # Looked at once: werkzeug would search all headers for each one that is set, and raise for each it does not find.
    there = {name.lower() for name, _ in headers}
    more = [(HEADER, request_id(asked)), ("X-Content-Type-Options", "nosniff")]
    if "cache-control" not in there:
        # An error may be gone a moment later; anything else may be kept by its user's own browser, but is asked for
        # again each time, which an unchanged ETag makes cheap.
        more.append(("Cache-Control", "no-store" if response.status_code >= 400 else "private, no-cache"))
    # One cache entry for each user and each origin that asks.
    if "vary" not in there:
        more.append(("Vary", "Authorization, Origin"))
    else:
        response.vary.update(("Authorization", "Origin"))
    headers.extend([*more, *asked.environ.get(_EXTRA_HEADERS, ())])
    return response


class _FastHeaders(Headers):
    """Headers that come many at a time, as lists: werkzeug would look at one after the other."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in {name.lower() for name, _ in self._list}

    def extend(self, lines: Any = None, /, **others: Any) -> None:
        """As werkzeug's."""
        values = "".join([value for _, value in lines]) if isinstance(lines, list) else "\n"
        if others or "\r" in values or "\n" in values:
            super().extend(lines, **others)
        else:
            self._list += lines


class FastResponse(Response):
    """An answer that needs no more work when it is sent: what werkzeug would make of it, it is."""

    default_mimetype = None  # what has no content has no type of it either
    size = 0
    _has_callbacks = False

    def __init__(self, status: int, lines: Sequence[tuple[str, str]] = (), body: Iterable[bytes] = ()) -> None:
        super().__init__(body, status, _FastHeaders(lines))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        pieces = () if environ["REQUEST_METHOD"] == "HEAD" else self.iter_encoded()
        return ClosingIterator(pieces, self.close) if self._has_callbacks else pieces

    def call_on_close(self, func: Callable[[], Any]) -> Callable[[], Any]:
        """Call a function when the response was sent, or its connection is closed."""
        self._has_callbacks = True
        return super().call_on_close(func)


def json_response(
    data: Any, status: int = 200, *, etag: str | None = None, headers: Mapping[str, str] | None = None
) -> FastResponse:
    """`data` as JSON."""
    body = orjson.dumps(data)
    lines = [*headers.items()] if headers else []
    lines += ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
    if etag is not None:
        lines.append(("ETag", etag))
    response = FastResponse(status, lines, [body])
    response.size = len(body)
    return response


def not_modified(etag: str) -> FastResponse:
    """304: the client has it already (RFC 9110, section 15.4.5)."""
    return FastResponse(304, [("ETag", etag)])


def no_content() -> Response:
    """204: it is done and there is nothing to say."""
    return FastResponse(204)


def stream(pieces: Iterable[bytes], media_type: str, *, filename: str) -> Response:
    """A file to keep, sent as it is made. The first piece is made here: what fails by then is still an error answer."""
    source = iter(pieces)
    first = next(source, b"")
    response = Response(stream_with_context(_in_time(chain((first,), source))), content_type=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _in_time(pieces: Iterable[bytes]) -> Iterator[bytes]:
    deadline = time.monotonic() + STREAM_TIMEOUT
    for piece in pieces:
        if time.monotonic() > deadline:
            # As when the client hangs up: the connection is closed before the end of the stream.
            raise ConnectionResetError(errno.ECONNRESET, "the client reads too slowly")
        yield piece
