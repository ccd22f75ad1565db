"""What may come in: bodies, query parameters and preconditions, read strictly and within bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from flask import Request, current_app, request
from gunicorn.http.errors import ParseException
from marshmallow import Schema, ValidationError
from marshmallow.fields import List as ListField
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_etags

from . import strict_json
from .errors import BadParameter, BadRequest, PreconditionRequired, TooLarge, UnsupportedMedia, ValidationFailed
from .fields import strict
from .routing import unproxy

MAX_BODY_BYTES = 64 * 1024
"""A task with the longest description in the widest characters takes about 40 KB of UTF-8."""

MAX_CACHED_QUERY, MAX_REMEMBERED_QUERIES = 256, 256
"""Bytes of a query string that is kept with its meaning, and how many are: in the worst case 1 MB of a worker."""

_INCOMPLETE_BODY = "The body ended before it was complete, or its chunks are malformed."

_REPEATED = strict.Violation("repeated", "Must be given once.")

_BODY_LIMITS = "taskapi_accepted"
_DEFAULT = ("application/json",), MAX_BODY_BYTES

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""No view reads a body of these; the server receives it up to a bound, or closes the connection (protocol.py)."""

View = TypeVar("View", bound=Callable[..., Any])

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def accepts(*media_types: str, most: int = MAX_BODY_BYTES) -> Callable[[View], View]:
    """Let a view's body be of these media types, and that many bytes; the first type is the one we name."""

    def mark(view: View) -> View:
        vars(view)[_BODY_LIMITS] = (media_types, most)
        return view

    return mark


def check_head(asked: Request) -> None:
    """Refuse a body that its headers show to be too large, or of the wrong type, without reading it: 413 or 415."""
    if asked.method not in _WITHOUT_BODY:
        _check_head(asked, asked.content_length or 0, *_accepted(asked))


def _check_head(asked: Request, length: int, media_types: tuple[str, ...], most: int) -> None:
    if length > most:
        raise TooLarge(_too_large(most))
    if length:
        _check_type(asked, media_types)
    if media_types and asked.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("Send the body uncompressed.", headers={"Accept-Encoding": "identity"})


def read_body(asked: Request, before_large: Callable[[], None] | None = None) -> None:
    """Read the body of a write within its bound, once its sender is known and the request is counted.

    `before_large` is called before a body is read that may have more than `MAX_BODY_BYTES`.

    Raises `TooLarge`, `UnsupportedMedia`, and `BadRequest` for a body that is cut off. What the headers show is refused
    without reading; a chunked body is read up to the bound.
    """
    if asked.method in _WITHOUT_BODY:
        return
    media_types, most = _accepted(asked)
    length = asked.content_length or 0
    _check_head(asked, length, media_types, most)
    if before_large and most > MAX_BODY_BYTES and (length or most) > MAX_BODY_BYTES:
        before_large()
    body = _read_bounded(asked, most)
    if len(body) < length:
        # gunicorn ends the body of a client that went away as if it were complete, and a wish that was cut off to
        # nothing would flip a task.
        raise BadRequest(_INCOMPLETE_BODY)
    if body and not length:
        _check_type(asked, media_types)


def _accepted(asked: Request) -> tuple[tuple[str, ...], int]:
    """The media types and the number of bytes that the view accepts; no types if any will do."""
    if asked.method == "DELETE":
        # Its content has no meaning (RFC 9110, section 9.3.5), but it belongs to what an idempotency key stands for.
        return (), MAX_BODY_BYTES
    view = unproxy(current_app).view_functions[asked.endpoint or ""]
    found: tuple[tuple[str, ...], int] = getattr(view, _BODY_LIMITS, _DEFAULT)
    return found


def _check_type(asked: Request, media_types: tuple[str, ...]) -> None:
    if media_types and asked.mimetype not in media_types:
        # RFC 5789, section 2.2, and RFC 9110, section 15.5.16: what would have been accepted.
        header = "Accept-Patch" if asked.method == "PATCH" else "Accept"
        raise UnsupportedMedia(
            f"Send the body as `Content-Type: {media_types[0]}`.", headers={header: ", ".join(media_types)}
        )


def _too_large(most: int) -> str:
    return f"Send at most {most} bytes."


def _read_bounded(asked: Request, most: int) -> bytes:
    """The body, if it has no more bytes than that."""
    # One byte more than is accepted: of a chunked body Werkzeug keeps what fits and is silent about the rest.
    asked.max_content_length = most + 1
    try:
        body = asked.get_data()
    except RequestEntityTooLarge as error:
        raise TooLarge(_too_large(most)) from error
    except (ClientDisconnected, ParseException, OSError) as error:
        # gunicorn raises its own errors out of read() when the chunks of a body are broken.
        raise BadRequest(_INCOMPLETE_BODY) from error
    if len(body) > most:
        raise TooLarge(_too_large(most))
    return body


def json_body(schema: Schema, *, partial: bool = False) -> dict[str, Any]:
    """The members of the JSON object sent, checked by `schema`; an absent body is an empty object.

    Raises `BadRequest` for what is not strict JSON, and `ValidationFailed` with a pointer to each invalid member.
    """
    raw = request.get_data()
    try:
        members = strict_json.loads(raw) if raw else {}
    except ValueError as error:
        raise BadRequest("The body is not strict JSON: UTF-8, no member twice, no NaN or Infinity.") from error
    if not isinstance(members, dict):
        raise ValidationFailed("Send a JSON object.", errors=strict.violations(ValidationError([strict.NOT_AN_OBJECT])))
    try:
        loaded: dict[str, Any] = schema.load(members, partial=partial)
    except ValidationError as error:
        raise ValidationFailed(
            "`errors` names each member that must change.", errors=strict.violations(error)
        ) from error
    return loaded


def query_parameters(schema: Schema) -> Any:
    """The query parameters, checked by `schema`; unknown ones, and single ones given twice, raise `BadParameter`.

    The same query string comes again and again, so what it means is remembered: leave it as it is.
    """
    query = request.query_string
    return _parameters(schema, query) if len(query) <= MAX_CACHED_QUERY else _parameters.__wrapped__(schema, query)


@lru_cache(maxsize=MAX_REMEMBERED_QUERIES)
def _parameters(schema: Schema, _query: bytes) -> Any:
    try:
        several = {name for name, field in schema.fields.items() if isinstance(field, ListField)}
        given: dict[str, Any] = {}
        for name, values in request.args.lists():
            if len(values) > 1 and name not in several:
                raise ValidationError({name: [_REPEATED]})  # noqa: TRY301  one way out for all that is wrong
            given[name] = values if name in several else values[0]
        return schema.load(given)
    except ValidationError as error:
        faults = strict.violations(error)
        detail = " ".join(f"{fault['pointer'].lstrip('/') or 'Query'}: {fault['detail']}" for fault in faults)
        raise BadParameter(detail, errors=faults) from error


def expected_versions() -> frozenset[int] | None:
    """The versions that `If-Match` accepts (RFC 9110, section 13.1.1); None if any will do.

    Compared strongly, so a weak tag matches nothing; neither does a tag that no version of ours can have.
    In strict mode its absence raises `PreconditionRequired` (RFC 6585, section 3).
    """
    if "If-Match" not in request.headers:
        if current_app.config["REQUIRE_IF_MATCH"]:
            raise PreconditionRequired(
                "Send `If-Match` with the ETag you last saw, or `If-Match: *` for whatever is there."
            )
        return None
    if request.if_match.star_tag:
        return None
    # Werkzeug reads the empty tag, `""`, as None.
    return frozenset(int(tag) for tag in request.if_match.as_set() if tag and _VERSION.fullmatch(tag))


def if_none_match() -> str | None:
    """What the client says that it has: `If-None-Match`, as it was sent."""
    sent: str | None = request.environ.get("HTTP_IF_NONE_MATCH")
    return sent


def matches_etag(etag: str, sent: str | None) -> bool:
    """Whether `If-None-Match` names the tag (RFC 9110, section 13.1.2): the client has what we would send."""
    # Who polls sends one tag, and to the letter; what else there may be is read in full.
    return sent is not None and (sent == etag or parse_etags(sent).contains_weak(etag.strip('"')))
