"""Parsing of requests: bodies, query parameters and conditional headers, strictly and with limits on their size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, TypeVar

from flask import Request, request
from gunicorn.http.errors import ParseException
from marshmallow import Schema, ValidationError
from marshmallow.fields import List as ListField
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_etags

from . import strict_json
from .errors import (
    BadParameter,
    BadRequest,
    LengthRequired,
    PreconditionRequired,
    TooLarge,
    UnsupportedMedia,
    ValidationFailed,
)
from .fields import strict
from .fields.collections import LoadedItems, Objects
from .routing import current_application, current_request, short_length

MAX_BODY_BYTES = 64 * 1024
"""Default maximum size of a body. A task with the longest description takes up to 40 KB of UTF-8."""

MAX_CACHED_QUERY, QUERY_CACHE_SIZE = 256, 256
"""Maximum bytes of a query string whose parsed parameters are cached, and entries of that cache: at most 1 MB."""

_INCOMPLETE_BODY = "The body ended before it was complete, or its chunks are malformed."

_REPEATED = strict.Violation("repeated", "Must be given once.")

_BODY_LIMITS = "taskapi_body_limits"
_DEFAULT_LIMITS = ("application/json",), MAX_BODY_BYTES

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body no view reads; the server discards it up to a limit, or closes the connection (FastParser)."""

View = TypeVar("View", bound=Callable[..., Any])

_VERSION = re.compile(r"[1-9][0-9]{0,17}")

_CODING_SUFFIX = re.compile(r'--?(gzip|br|zstd|deflate)(?=")')
"""What compressing proxies append to the text of an ETag: Apache `"7-gzip"` and `"7-br"`, Caddy `"7-zstd"`, Jetty
`"7--gzip"`. Others, such as nginx, weaken it instead: `W/"7"`."""


def accepts(*media_types: str, max_bytes: int = MAX_BODY_BYTES) -> Callable[[View], View]:
    """Decorate a view with the media types and the maximum bytes of its body, which `read_body` enforces (415, 413).

    The detail of a 415 names all types. A view without this decorator accepts JSON of up to `MAX_BODY_BYTES`.
    """

    def mark(view: View) -> View:
        """Store the media types and the maximum size on the view, and return the view itself, not a wrapper."""
        vars(view)[_BODY_LIMITS] = (media_types, max_bytes)
        return view

    return mark


def check_headers(request: Request) -> None:
    """Raise 411, 413 or 415 if the headers show that the view cannot read or does not accept the body.

    Never for GET, HEAD and OPTIONS, whose body no view reads.
    """
    if request.method not in _WITHOUT_BODY:
        _check_body_headers(request, _content_length(request), *_body_limits(request))


def _content_length(request: Request) -> int:
    """Return the length of the body in bytes; 0 if it is unknown or there is none."""
    length = short_length(request.environ)
    return request.content_length or 0 if length is None else length


def _check_body_headers(request: Request, length: int, media_types: tuple[str, ...], max_bytes: int) -> None:
    """Raise 411, 413 or 415, in this order.

    411: Transfer-Encoding under a server that does not decode it; 413: `length` exceeds `max_bytes`; 415: the wrong
    media type, unless `length` is 0 (absent), or a compressed body. Without `media_types` nothing is 415.
    """
    environ = request.environ
    if "HTTP_TRANSFER_ENCODING" in environ and not environ.get("wsgi.input_terminated"):
        # Werkzeug would read the body as empty, and an empty body toggles a task. uWSGI is such a server.
        raise LengthRequired("Send the body with `Content-Length`.")
    if length > max_bytes:
        raise TooLarge(_too_large(max_bytes))
    if length:
        _check_type(request, media_types)
    if media_types and environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise UnsupportedMedia("Send the body uncompressed.", headers={"Accept-Encoding": "identity"})


def read_body(request: Request, before_large: Callable[[], None] | None = None) -> None:
    """Read the body, up to the limit of its view, and keep it for `request.get_data`; nothing for GET, HEAD, OPTIONS.

    `before_large`, if given, is called before a body that may have more than `MAX_BODY_BYTES` is read: its length is
    unknown or greater, and the view accepts more.

    Raises `LengthRequired`, `TooLarge`, `UnsupportedMedia`, and `BadRequest` for an incomplete body. If the headers
    show a problem the body is not read; a chunked body is read up to the limit.
    """
    if request.method in _WITHOUT_BODY:
        return
    media_types, max_bytes = _body_limits(request)
    length = _content_length(request)
    _check_body_headers(request, length, media_types, max_bytes)
    if before_large and max_bytes > MAX_BODY_BYTES and (length or max_bytes) > MAX_BODY_BYTES:
        before_large()
    body = _read_bounded(request, max_bytes)
    if len(body) < length:
        # If the client disconnects, gunicorn ends the body as if it were complete. An empty body toggles a task, so a
        # truncated one must not be executed.
        raise BadRequest(_INCOMPLETE_BODY)
    if body and not length:
        _check_type(request, media_types)


def _body_limits(request: Request) -> tuple[tuple[str, ...], int]:
    """Return the media types, () for any, and the maximum bytes of the request's body.

    Those of its view's `accepts`, otherwise JSON and `MAX_BODY_BYTES`; for DELETE any type and `MAX_BODY_BYTES`.
    """
    if request.method == "DELETE":
        # The body has no semantics (RFC 9110, section 9.3.5), but it is part of the fingerprint of an idempotency key.
        return (), MAX_BODY_BYTES
    view = current_application().view_functions[request.endpoint or ""]
    limits: tuple[tuple[str, ...], int] = getattr(view, _BODY_LIMITS, _DEFAULT_LIMITS)
    return limits


def _check_type(request: Request, media_types: tuple[str, ...]) -> None:
    """Raise 415 if the media type is not in `media_types`; () accepts any.

    The response lists the accepted types in the header `Accept`, or `Accept-Patch` of a PATCH.
    """
    if not media_types or request.environ.get("CONTENT_TYPE") in media_types:
        return  # most clients send the type without parameters
    if request.mimetype not in media_types:
        # The response lists the accepted types (RFC 5789, section 2.2, and RFC 9110, section 15.5.16).
        header = "Accept-Patch" if request.method == "PATCH" else "Accept"
        raise UnsupportedMedia(
            f"Send the body as `Content-Type: {'` or `'.join(media_types)}`.", headers={header: ", ".join(media_types)}
        )


def _too_large(max_bytes: int) -> str:
    """Return the text for the `detail` of a 413."""
    return f"Send at most {max_bytes} bytes."


def _read_bounded(request: Request, max_bytes: int) -> bytes:
    """Read and return the body; raise `TooLarge` beyond `max_bytes`, `BadRequest` for an incomplete one."""
    # One byte more than is accepted, because Werkzeug truncates a chunked body at its limit without an error.
    request.max_content_length = max_bytes + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge as error:
        raise TooLarge(_too_large(max_bytes)) from error
    except (ClientDisconnected, ParseException, OSError) as error:
        # gunicorn raises its own errors from read() if the chunks of a body are malformed.
        raise BadRequest(_INCOMPLETE_BODY) from error
    if len(body) > max_bytes:
        raise TooLarge(_too_large(max_bytes))
    return body


def json_body(schema: Schema, *, partial: bool = False) -> dict[str, Any]:
    """Parse the body as a JSON object and load it with `schema`; an absent body is an empty object.

    With `partial` required members may be missing, and an absent body is `BadRequest`: a client whose body was lost
    would take the success for a change. Raises `BadRequest` if the body is not strict JSON, and `ValidationFailed` if
    it is not an object, or with a pointer to each invalid member.
    """
    if partial and not current_request().get_data():
        raise BadRequest("The request has no body: send a JSON object with the members to change.")
    return _load_body(schema, strict_json.loads, partial=partial)


def long_json_body(schema: Schema) -> dict[str, Any]:
    """Load the body as `json_body` does, but parse its arrays of objects item by item, yielding to other requests.

    The parsed items are not in memory together. Raises the same errors, and `BadRequest` as well for a value of more
    than `strict_json.MAX_VALUE_CHARACTERS`.
    """
    arrays = {name: field for name, field in schema.fields.items() if isinstance(field, Objects)}
    readers = {name: partial(_load_items, name, field) for name, field in arrays.items()}
    return _load_body(schema, lambda raw: strict_json.read_object(raw, readers), partial=False)


def _load_items(name: str, field: Objects, items: Iterable[Any]) -> LoadedItems:
    """Load the items of the array `name`; return them and the error of invalid ones, which is not raised here.

    Raises `ValidationFailed` as soon as there are too many items, without parsing the rest.
    """
    loaded = field.load_items(items)
    if loaded.is_too_long and loaded.error:
        raise ValidationFailed.of(ValidationError({name: loaded.error.messages}))
    return loaded


def _load_body(schema: Schema, parse: Callable[[bytes], Any], *, partial: bool) -> dict[str, Any]:
    """Parse the body with `parse` unless it is empty, and load it with `schema`; raise as `json_body` does."""
    raw = current_request().get_data()
    try:
        members = parse(raw) if raw else {}
    except strict_json.ValueTooLong as error:
        detail = f"A value of the body has more than {strict_json.MAX_VALUE_CHARACTERS} characters."
        raise BadRequest(detail) from error
    except ValueError as error:
        raise BadRequest("The body is not strict JSON: UTF-8, no member twice, no NaN or Infinity.") from error
    if not isinstance(members, dict):
        raise ValidationFailed.of(ValidationError([strict.NOT_AN_OBJECT]))
    try:
        loaded: dict[str, Any] = schema.load(members, partial=partial)
    except ValidationError as error:
        raise ValidationFailed.of(error) from error
    return loaded


def query_parameters(schema: Schema) -> Any:
    """Load the query parameters with `schema`; raise `BadParameter` for unknown, repeated and invalid ones.

    Parameters of a list field may be repeated. Results are cached by query string, up to `MAX_CACHED_QUERY` bytes:
    callers must not change the returned object.
    """
    query = current_request().query_string
    return _parameters(schema, query) if len(query) <= MAX_CACHED_QUERY else _parameters.__wrapped__(schema, query)


@lru_cache(maxsize=QUERY_CACHE_SIZE)
def _parameters(schema: Schema, _query: bytes) -> Any:
    """Load the parameters of the current request; `_query`, its query string, is the key of the cache.

    Raises `BadParameter`, which is not cached.
    """
    try:
        repeatable = {name for name, field in schema.fields.items() if isinstance(field, ListField)}
        values_by_name: dict[str, Any] = {}
        for name, values in request.args.lists():
            if len(values) > 1 and name not in repeatable:
                raise ValidationError({name: [_REPEATED]})  # noqa: TRY301  one except clause for all errors
            values_by_name[name] = values if name in repeatable else values[0]
        return schema.load(values_by_name)
    except ValidationError as error:
        raise BadParameter.of(error) from error


def expected_versions() -> frozenset[int] | None:
    """Return the versions that `If-Match` accepts (RFC 9110, section 13.1.1); None for `*` or without the header.

    A weak tag, and one with the suffix that a compressing proxy appends, count as well: the number still identifies the
    content. Tags that are not versions are left out; an empty set matches no task. In strict mode a missing header
    raises `PreconditionRequired` (RFC 6585, section 3).
    """
    sent = current_request().environ.get("HTTP_IF_MATCH")
    if sent is None:
        if current_application().config["REQUIRE_IF_MATCH"]:
            raise PreconditionRequired(
                "Send `If-Match` with the ETag you last saw, or `If-Match: *` for whatever is there."
            )
        return None
    tags = parse_etags(_CODING_SUFFIX.sub("", sent))
    if tags.star_tag:
        return None
    # Werkzeug reads the empty tag, `""`, as None.
    return frozenset(int(tag) for tag in tags.as_set(include_weak=True) if tag and _VERSION.fullmatch(tag))


def if_none_match() -> str | None:
    """Return the `If-None-Match` header of the current request, unparsed; None if absent."""
    sent: str | None = current_request().environ.get("HTTP_IF_NONE_MATCH")
    return sent


def matches_etag(etag: str, sent: str | None) -> bool:
    """Return True if the `If-None-Match` header `sent` contains the ETag, weak or not, or is `*` (RFC 9110, 13.1.2).

    `etag` has its quotes. A suffix that a compressing proxy has appended to it in `sent` is ignored. False without the
    header.
    """
    # A polling client sends one tag, exactly as it received it: compare that first, and parse only otherwise.
    return sent is not None and (
        sent == etag or parse_etags(_CODING_SUFFIX.sub("", sent)).contains_weak(etag.strip('"'))
    )
