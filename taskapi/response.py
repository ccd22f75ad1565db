"""What every answer carries, and how data becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import orjson
from flask import Flask, Response, stream_with_context

from .request_id import HEADER, request_id


def init_app(app: Flask) -> None:
    """Put the headers of every answer on it, errors and 304 included."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    headers = response.headers
    headers[HEADER] = request_id()
    headers["X-Content-Type-Options"] = "nosniff"
    # An error may be gone a moment later; anything else may be kept by its user's own browser, but is asked for
    # again each time, which an unchanged ETag makes cheap.
    headers.setdefault("Cache-Control", "no-store" if response.status_code >= 400 else "private, no-cache")
    # One cache entry for each user and each origin that asks.
    response.vary.update(("Authorization", "Origin"))
    return response


def answer(
    data: Any, status: int = 200, *, etag: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """`data` as JSON."""
    response = Response(orjson.dumps(data), status, headers, content_type="application/json")
    if etag is not None:
        response.headers["ETag"] = etag
    return response


def unchanged(etag: str) -> Response:
    """304: the client has it already (RFC 9110, section 15.4.5)."""
    return _empty(304, {"ETag": etag})


def nothing() -> Response:
    """204: it is done and there is nothing to say."""
    return _empty(204, {})


def _empty(status: int, headers: Mapping[str, str]) -> Response:
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]  # there is no content to have one
    return response


def stream(pieces: Iterable[bytes], media_type: str, *, filename: str) -> Response:
    """A file to keep, sent as it is made. The first piece is made here: what fails by then is still an error answer."""
    source = iter(pieces)
    first = next(source, b"")
    response = Response(stream_with_context(chain((first,), source)), content_type=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
