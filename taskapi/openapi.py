"""The OpenAPI 3.1 description, derived from the routes, the schemas and the catalogue of problems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Response, current_app
from marshmallow import Schema
from werkzeug.routing import Rule

from . import errors
from .errors import MEDIA_TYPE, Problem
from .tasks import schemas

VERSION = "0.1.0"
_EXTENSION = "taskapi.openapi"

_ALWAYS = ("X-Request-Id", "Cache-Control", "Vary", "X-Content-Type-Options")
_HEADERS = {
    "X-Request-Id": "Names the request in logs and error bodies; yours, if you sent a sane one.",
    "Cache-Control": "`private, no-cache`; on errors `no-store`.",
    "Vary": "`Authorization, Origin`.",
    "X-Content-Type-Options": "`nosniff`.",
    "ETag": "The version of what is answered, in quotes; for `If-Match` and `If-None-Match`.",
    "Location": "The address of the new task.",
    "Link": 'The next page, as `<…>; rel="next"`; absent on the last.',
    "X-Total-Count": "How many tasks all pages hold; with `include=total` only.",
    "WWW-Authenticate": "The challenge of RFC 6750; with `error` and `error_description` when a token came.",
    "Retry-After": "Seconds after which another try makes sense.",
}
_HEADERS_OF_STATUS: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}

_IF_MATCH = "If-Match"
_IF_NONE_MATCH = "If-None-Match"
_CONDITIONS = {
    _IF_MATCH: 'Change the task only if it is of this version (`"7"`); `*` for any.',
    _IF_NONE_MATCH: "Answer 304 without a body if this is still its ETag.",
}

_GUARD = (errors.Unauthorized, errors.Forbidden, errors.Unavailable, errors.BadParameter)
_BODY = (errors.BadRequest, errors.TooLarge, errors.UnsupportedMedia, errors.Invalid)
_VERSIONED = (errors.NotFound, errors.PreconditionFailed, errors.PreconditionRequired)


@dataclass(frozen=True)
class Operation:
    """What a route cannot say of itself: the shapes it takes and gives, and how it refuses."""

    status: int
    gives: Schema | str | None = None
    headers: tuple[str, ...] = ()
    takes: Schema | str | None = None
    takes_required: bool = True
    query: Schema | None = None
    condition: str | None = None
    refuses: tuple[type[Problem], ...] = field(default=())


OPERATIONS: Mapping[str, Operation] = {
    "tasks.index": Operation(
        200,
        schemas.tasks_out,
        ("ETag", "Link", "X-Total-Count"),
        query=schemas.list_query,
        condition=_IF_NONE_MATCH,
        refuses=(*_GUARD, errors.BadCursor),
    ),
    "tasks.create": Operation(
        201, schemas.task_out, ("ETag", "Location"), takes="TaskCreate", refuses=(*_GUARD, *_BODY)
    ),
    "tasks.show": Operation(
        200, schemas.task_out, ("ETag",), condition=_IF_NONE_MATCH, refuses=(*_GUARD, errors.NotFound)
    ),
    "tasks.update": Operation(
        200,
        schemas.task_out,
        ("ETag",),
        takes="TaskUpdate",
        takes_required=False,  # no body is an empty object (request.py), and that changes nothing
        condition=_IF_MATCH,
        refuses=(*_GUARD, *_BODY, *_VERSIONED),
    ),
    "tasks.delete": Operation(204, condition=_IF_MATCH, refuses=(*_GUARD, *_VERSIONED)),
    "tasks.complete": Operation(
        200,
        schemas.task_out,
        ("ETag",),
        takes="Completion",
        takes_required=False,
        condition=_IF_MATCH,
        refuses=(*_GUARD, *_BODY, *_VERSIONED),
    ),
    "health.healthz": Operation(200, "Health"),
    "health.readyz": Operation(200, "Health", refuses=(errors.Unavailable,)),
}
"""By endpoint; a test holds that every route of the API stands here."""


def init_app(app: Flask) -> None:
    """Describe the routes registered so far, and serve the description."""
    app.extensions[_EXTENSION] = orjson.dumps(build(app))
    app.add_url_rule("/openapi.json", "openapi", _serve)


def _serve() -> Response:
    return Response(current_app.extensions[_EXTENSION], content_type="application/json")


def build(app: Flask) -> dict[str, Any]:
    """The document (OpenAPI 3.1.1) of an application's routes."""
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
    spec.components.schema("Task", schema=schemas.task_out)
    spec.components.schema("Completion", schema=schemas.completion_in)
    spec.components.schema("TaskCreate", schema=schemas.task_in)
    spec.components.schema("TaskUpdate", schema=schemas.TaskIn(partial=True))
    for name in ("TaskCreate", "TaskUpdate"):
        for member in sorted(schemas.TaskIn.ignored):
            spec.components.schemas[name]["properties"][member] = {"readOnly": True, "description": "Passed over."}
    spec.components.schema(
        "Health", {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    )
    spec.components.schema("Problem", _PROBLEM)
    for name, description in _HEADERS.items():
        spec.components.header(name, {"description": description, "schema": {"type": "string"}})


def _path(rule: Rule) -> str:
    return rule.rule.replace("<", "{").replace(">", "}")


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
    if parameters:
        described["parameters"] = parameters
    if operation.takes:
        content = {"application/json": {"schema": operation.takes}}
        described["requestBody"] = {"required": operation.takes_required, "content": content}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _refer(*_ALWAYS, *operation.headers),
    }
    if operation.gives:
        success["content"] = {"application/json": {"schema": operation.gives}}
    responses = {str(operation.status): success}
    if operation.condition == _IF_NONE_MATCH:
        responses["304"] = {"description": "You have it already.", "headers": _refer(*_ALWAYS, "ETag")}
    by_status: defaultdict[int, list[type[Problem]]] = defaultdict(list)
    refusals: list[type[Problem]] = [*operation.refuses, errors.Internal]
    for problem in refusals:
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "; ".join(f"{problem.title} (`{problem.code}`)" for problem in problems),
            "headers": _refer(*_ALWAYS, *_HEADERS_OF_STATUS.get(status, ())),
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
