"""The OpenAPI 3.1 description, derived from the routes, the schemas and the catalogue of problems."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response
from marshmallow import Schema
from werkzeug.routing import Rule

from ..http import errors
from ..http.errors import MEDIA_TYPE, Problem
from ..tasks import schemas
from ..tasks.batch import schemas as batch
from ..tasks.listing import schemas as listing
from ..tasks.moves import schemas as moves
from ..tasks.stats import schemas as stats
from ..tasks.sync import schemas as sync
from ..tasks.transfer import schemas as transfer
from ..tasks.trash import schemas as trash

if TYPE_CHECKING:
    from apispec import APISpec

VERSION = "0.1.0"
_EXTENSION = "taskapi.docs.openapi"

_ALWAYS = ("X-Request-Id", "Cache-Control", "Vary", "X-Content-Type-Options")
_HEADERS = {
    "X-Request-Id": "Names the request in logs and error bodies; yours, if you sent a sane one.",
    "Cache-Control": "`private, no-cache`; on errors, and when a session has ended, `no-store`.",
    "Vary": "`Authorization, Origin`.",
    "X-Content-Type-Options": "`nosniff`.",
    "ETag": "The version of what is answered, in quotes; for `If-Match` and `If-None-Match`.",
    "Location": "The address of the new task.",
    "Link": 'The next page, as `<…>; rel="next"`; absent on the last.',
    "X-Total-Count": "How many tasks all pages hold; with `include=total` only.",
    "WWW-Authenticate": "The challenge of RFC 6750; with `error` and `error_description` when a token came.",
    "Retry-After": "Seconds after which another try makes sense.",
    "RateLimit": "How many requests are left (`r`) for so many seconds (`t`); absent when limits are off.",
    "RateLimit-Policy": "How many requests (`q`) may be made in so many seconds (`w`).",
    "Idempotency-Replayed": "`true` when this is the stored response to an earlier request with the same key.",
    "Content-Disposition": "The name of the file.",
    "Accept-Patch": "The media types that would have been accepted.",
}
_HEADERS_OF_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    410: ("Link",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_LIMIT = ("RateLimit", "RateLimit-Policy")

_IF_MATCH = "If-Match"
_IF_NONE_MATCH = "If-None-Match"
_CONDITIONS = {
    _IF_MATCH: 'Change the task only if it is of this version (`"7"`); `*` for any.',
    _IF_NONE_MATCH: "Answer 304 without a body if this is still its ETag.",
}

_GUARD = (errors.Unauthorized, errors.Forbidden, errors.TooManyRequests, errors.ServiceUnavailable, errors.BadParameter)
_BODY = (errors.BadRequest, errors.TooLarge, errors.UnsupportedMedia, errors.ValidationFailed)
_KEYED = (errors.BadRequest, errors.InFlight, errors.KeyReused, errors.TooManyKeys)
_VERSIONED = (errors.NotFound, errors.PreconditionFailed, errors.PreconditionRequired)


_TEXT = {"type": "string"}


@dataclass(frozen=True)
class Operation:
    """What a route cannot say of itself: the shapes it takes and gives, and how it refuses.

    `gives` and `takes` map a media type to a schema, or are one for JSON. `keyed` is for what takes an idempotency key.
    """

    status: int
    gives: Schema | str | Mapping[str, Any] | None = None
    headers: tuple[str, ...] = ()
    takes: str | None = None
    takes_types: tuple[str, ...] = ("application/json",)
    takes_required: bool = True
    query: Schema | None = None
    condition: str | None = None
    keyed: bool = False
    refuses: tuple[type[Problem], ...] = ()


def _writing(status: int, gives: Schema | str | None, *refuses: type[Problem], **rest: Any) -> Operation:
    """A change of one task, that a version can be demanded for and a key can be given to."""
    headers = ("ETag",) if gives else ()
    deleted = (errors.TaskDeleted,) if gives else ()
    refused: tuple[type[Problem], ...] = (*_GUARD, *_VERSIONED, *deleted, *refuses)
    return Operation(status, gives, headers, condition=_IF_MATCH, keyed=True, refuses=refused, **rest)


OPERATIONS: Mapping[str, Operation] = {
    "tasks.index": Operation(
        200,
        schemas.tasks_out,
        ("ETag", "Link", "X-Total-Count"),
        query=listing.list_query,
        condition=_IF_NONE_MATCH,
        refuses=(*_GUARD, errors.BadCursor),
    ),
    "tasks.create": Operation(
        201,
        schemas.task_out,
        ("ETag", "Location"),
        takes="TaskCreate",
        keyed=True,
        refuses=(*_GUARD, *_BODY, errors.TaskDeleted, errors.QuotaExceeded),
    ),
    "tasks.show": Operation(
        200, schemas.task_out, ("ETag",), condition=_IF_NONE_MATCH, refuses=(*_GUARD, errors.NotFound)
    ),
    "tasks.update": _writing(
        200, schemas.task_out, *_BODY, errors.QuotaExceeded, takes="TaskUpdate", takes_required=False
    ),
    "tasks.patch": _writing(
        200,
        schemas.task_out,
        *_BODY,
        errors.QuotaExceeded,
        takes="TaskUpdate",
        takes_types=("application/merge-patch+json", "application/json"),
        takes_required=False,
    ),
    "tasks.delete": _writing(204, None, errors.TooLarge, query=trash.delete_query),
    "tasks.complete": _writing(
        200, schemas.task_out, *_BODY, errors.QuotaExceeded, takes="Completion", takes_required=False
    ),
    "tasks.restore": _writing(
        200, schemas.task_out, *_BODY, errors.QuotaExceeded, takes="Nothing", takes_required=False
    ),
    "tasks.move": _writing(200, schemas.task_out, *_BODY, takes="Move"),
    "data.batch": Operation(
        200,
        "BatchResult",
        takes="Batch",
        keyed=True,
        refuses=(*_GUARD, *_BODY, errors.NotFound, errors.PreconditionFailed, errors.QuotaExceeded),
    ),
    "data.changes": Operation(
        200,
        "Changes",
        ("ETag",),
        query=sync.changes_query,
        condition=_IF_NONE_MATCH,
        refuses=(*_GUARD, errors.BadCursor, errors.Gone),
    ),
    "data.stats": Operation(200, stats.StatsOut(), query=stats.stats_query, refuses=_GUARD),
    "data.export": Operation(
        200,
        {"application/json": "Export", "text/csv; charset=utf-8": _TEXT, "text/calendar; charset=utf-8": _TEXT},
        ("Content-Disposition",),
        query=transfer.export_query,
        refuses=_GUARD,
    ),
    "data.import_": Operation(
        200, transfer.ImportOut(), takes="Import", keyed=True, refuses=(*_GUARD, *_BODY, errors.QuotaExceeded)
    ),
    "data.erase": Operation(204, refuses=(*_GUARD, errors.BadRequest, errors.TooLarge)),
    "backchannel.logout": Operation(
        200,
        takes="LogoutNotice",
        takes_types=("application/x-www-form-urlencoded",),
        refuses=(
            errors.BadRequest,
            errors.InvalidLogoutToken,
            errors.TooLarge,
            errors.UnsupportedMedia,
            errors.ServiceUnavailable,
        ),
    ),
    "health.healthz": Operation(200, "Health"),
    "health.readyz": Operation(200, "Health", refuses=(errors.ServiceUnavailable,)),
}
"""By endpoint; a test holds that every route of the API stands here."""


def init_app(app: Flask) -> None:
    """Serve the description."""
    app.add_url_rule("/openapi.json", "openapi", lambda: _serve(app))


def _serve(app: Flask) -> Response:
    return Response(document(app), content_type="application/json")


def document(app: Flask) -> bytes:
    """The description as JSON, made when it is first asked for."""
    if _EXTENSION not in app.extensions:
        app.extensions[_EXTENSION] = orjson.dumps(build(app))
    made: bytes = app.extensions[_EXTENSION]
    return made


def build(app: Flask) -> dict[str, Any]:
    """The document (OpenAPI 3.1.1) of an application's routes."""
    # Not above: a server starts without the generator.
    from apispec import APISpec  # noqa: PLC0415
    from apispec.ext.marshmallow import MarshmallowPlugin  # noqa: PLC0415

    spec = APISpec(
        "taskapi",
        VERSION,
        "3.1.1",
        [MarshmallowPlugin(schema_name_resolver=lambda schema: type(schema).__name__)],
        info={"description": "One user's tasks, opened by a token that Better Auth issued."},
        security=[{"bearer": []}],
    )
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    _components(spec)
    for rule in app.url_map.iter_rules():
        if rule.endpoint in OPERATIONS:
            spec.path(_path(rule), operations={_method(rule): _operation(app, rule)}, parameters=_path_parameters(rule))
    return spec.to_dict()


def _components(spec: APISpec) -> None:
    for name, schema in _SCHEMAS.items():
        spec.components.schema(name, schema=schema)
    for name in ("TaskCreate", "TaskUpdate"):
        for member in sorted(schemas.TaskIn.ignored):
            spec.components.schemas[name]["properties"][member] = {"readOnly": True, "description": "Passed over."}
    components = spec.components.schemas
    components["Move"] |= {"minProperties": 1, "maxProperties": 1}
    components["Operation"] = {"oneOf": list(_operations_of_a_batch(components["Operation"]["properties"]))}
    for name, component in _COMPONENTS.items():
        spec.components.schema(name, component)
    for name, description in _HEADERS.items():
        spec.components.header(name, {"description": description, "schema": {"type": "string"}})


def _operations_of_a_batch(members: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One shape for each kind, and two for `move`, which needs `before` or `after`."""
    for name, (needed, further) in batch.MEMBERS_OF_OPERATION.items():
        sides = further & {"before", "after"}
        for side in sorted(sides) or [""]:
            there = {*needed, *([side] if side else [])}
            shapes = {member: members[member] for member in sorted(there | further - sides)}
            if "task" in needed:
                shapes["task"] = {"$ref": f"#/components/schemas/{'TaskCreate' if name == 'create' else 'TaskUpdate'}"}
            yield {
                "type": "object",
                "properties": {"op": {"const": name}, **shapes},
                "required": ["op", *sorted(there)],
                "additionalProperties": False,
            }


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _method(rule: Rule) -> str:
    return next(method.lower() for method in sorted(rule.methods or ()) if method not in ("HEAD", "OPTIONS"))


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    shapes = {
        "user_id": {"type": "string", "minLength": 1, "maxLength": 255},
        "id": {"type": "integer", "minimum": 1},
    }
    return [{"in": "path", "name": name, "required": True, "schema": shapes[name]} for name in sorted(rule.arguments)]


def _operation(app: Flask, rule: Rule) -> dict[str, Any]:
    operation = OPERATIONS[rule.endpoint]
    described: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": (app.view_functions[rule.endpoint].__doc__ or "").strip().splitlines()[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "responses": _responses(operation),
    }
    if "user_id" not in rule.arguments:
        described["security"] = []
    parameters: list[Any] = [{"in": "query", "schema": operation.query}] if operation.query else []
    if operation.condition:
        description = _CONDITIONS[operation.condition]
        parameters.append(
            {"in": "header", "name": operation.condition, "description": description, "schema": {"type": "string"}}
        )
    if operation.keyed:
        parameters.append(_KEY_PARAMETER)
    if parameters:
        described["parameters"] = parameters
    if operation.takes:
        content = {media_type: {"schema": operation.takes} for media_type in operation.takes_types}
        described["requestBody"] = {"required": operation.takes_required, "content": content}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    always = (*_ALWAYS, *(_LIMIT if operation.refuses and errors.TooManyRequests in operation.refuses else ()))
    keyed = ("Idempotency-Replayed",) if operation.keyed else ()
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _refer(*always, *keyed, *operation.headers),
    }
    if operation.gives:
        gives = operation.gives if isinstance(operation.gives, Mapping) else {"application/json": operation.gives}
        success["content"] = {media_type: {"schema": schema} for media_type, schema in gives.items()}
    responses = {str(operation.status): success}
    if operation.condition == _IF_NONE_MATCH:
        responses["304"] = {"description": "You have it already.", "headers": _refer(*always, "ETag")}
    by_status: defaultdict[int, list[type[Problem]]] = defaultdict(list)
    refusals: list[type[Problem]] = [*operation.refuses, *(_KEYED if operation.keyed else ()), errors.InternalError]
    for problem in dict.fromkeys(refusals):
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        further = _HEADERS_OF_STATUS.get(status, ())
        if status == errors.UnsupportedMedia.status and len(operation.takes_types) > 1:
            further = ("Accept-Patch",)
        if problems == [errors.TaskDeleted]:
            further = ("Idempotency-Replayed",)
        responses[str(status)] = {
            "description": "; ".join(f"{problem.title} (`{problem.code}`)" for problem in problems),
            "headers": _refer(*always, *further),
            "content": {MEDIA_TYPE: {"schema": "Problem"}},
        }
    return responses


def _refer(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `detail` is always a string and says how to mend the request.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(errors.CATALOGUE)},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON Pointer into the body, or `/name` of a parameter.",
                    },
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                },
                "required": ["pointer", "detail", "code"],
                "additionalProperties": False,
            },
        },
        "current": {"$ref": "#/components/schemas/Task"},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "additionalProperties": False,
}

_SCHEMAS: dict[str, Schema] = {
    "Task": schemas.task_out,
    "TaskCreate": schemas.task_in,
    "TaskUpdate": schemas.TaskIn(partial=True),
    "Completion": schemas.completion_in,
    "Move": moves.move_in,
    "Operation": batch.OperationIn(),
    "ImportedTask": transfer.ImportedTask(),
    "Tombstone": sync.TombstoneOut(),
    "Stats": stats.StatsOut(),
    "ImportResult": transfer.ImportOut(),
}


def _array(of: str, **rest: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}, **rest}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_COMPONENTS: dict[str, dict[str, Any]] = {
    "Health": _object(status={"const": "ok"}),
    "LogoutNotice": {
        "type": "object",
        "properties": {
            "logout_token": {
                "type": "string",
                "description": "OpenID Connect Back-Channel Logout 1.0, section 2.4; with both `sub` and `sid`.",
            }
        },
        "required": ["logout_token"],
    },
    "Nothing": _object(),
    "Problem": _PROBLEM,
    "Batch": _object(operations=_array("Operation", minItems=1, maxItems=batch.MAX_OPERATIONS)),
    "BatchResult": _object(
        results={
            "type": "array",
            "description": "The task after each operation; null for one that was deleted.",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Task"}, {"type": "null"}]},
        }
    ),
    "Changes": _object(
        items={
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Task"}, {"$ref": "#/components/schemas/Tombstone"}]},
        },
        next={"type": "string", "description": "Send it as `since`."},
        has_more={"type": "boolean"},
    ),
    "Export": _object(format={"const": "taskapi"}, tasks={"type": "array", "items": {"type": "object"}}),
    "Import": {
        "type": "object",
        "properties": {
            "format": {"const": "taskapi"},
            "tasks": _array("ImportedTask", maxItems=transfer.MAX_IMPORTED),
        },
        "required": ["tasks"],
        "additionalProperties": False,
    },
}

_KEY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Makes a repetition safe: within 24 hours it gets the stored response and changes nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
