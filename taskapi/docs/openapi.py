"""The OpenAPI 3.1 document: assembled from the routes, the declared operations, the schemas and the problem catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.routing import Rule

from ..config.settings import VERSION
from ..http import errors
from ..http.errors import MEDIA_TYPE, Problem
from ..http.routing import path_template
from .components import add_components
from .endpoints import IF_MATCH, IF_NONE_MATCH, OPERATIONS, Operation

_EXTENSION = "taskapi.docs.openapi"

_COMMON_HEADERS = ("X-Request-Id", "Cache-Control", "Vary", "X-Content-Type-Options")
_RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
_HEADERS_OF_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    410: ("Link",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

_CONDITIONAL_HEADERS = {
    IF_MATCH: 'Change the task only if it has this version (`"7"`); `*` for any.',
    IF_NONE_MATCH: "Return 304 without a body if the ETag is still the same.",
}

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Makes a retry safe: within 24 hours the same key returns the stored response and changes nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_IDEMPOTENCY_PROBLEMS = (errors.BadRequest, errors.InFlight, errors.KeyReused, errors.TooManyKeys)

_PATH_PARAMETERS = {
    "user_id": {"type": "string", "minLength": 1, "maxLength": 255},
    "id": {"type": "integer", "minimum": 1},
}


def init_app(app: Flask) -> None:
    """Register the route `/openapi.json`, which needs no token."""

    def show() -> Response:
        """Send the OpenAPI document, with the path prefix of the request, if any, as the URL of its server."""
        return Response(document(app, request.root_path), content_type="application/json")

    app.add_url_rule("/openapi.json", "openapi", show)


def document(app: Flask, prefix: str = "") -> bytes:
    """Return the OpenAPI document as JSON; the first call builds it and caches it in the application.

    A path `prefix` that is not "" is the URL of the document's only server; by default that is `/` (OpenAPI, section
    4.8.1).
    """
    if _EXTENSION not in app.extensions:
        app.extensions[_EXTENSION] = orjson.dumps(build(app))
    cached: bytes = app.extensions[_EXTENSION]
    servers = b'{"servers":%b,' % orjson.dumps([{"url": prefix}])
    return servers + cached.removeprefix(b"{") if prefix else cached


def build(app: Flask) -> dict[str, Any]:
    """Return a new OpenAPI 3.1.1 document of those routes of the application that `OPERATIONS` declares."""
    # Imported here, so that a server that never serves the document does not load apispec.
    from apispec import APISpec  # noqa: PLC0415
    from apispec.ext.marshmallow import MarshmallowPlugin  # noqa: PLC0415

    spec = APISpec(
        "taskapi",
        VERSION,
        "3.1.1",
        [MarshmallowPlugin(schema_name_resolver=lambda schema: type(schema).__name__)],
        info={"description": "The tasks of one user, authenticated by a token that Better Auth issued."},
        security=[{"bearer": []}],
    )
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    add_components(spec)
    for rule in app.url_map.iter_rules():
        if rule.endpoint in OPERATIONS:
            spec.path(
                path_template(rule.rule),
                operations={_method(rule): _operation(app, rule)},
                parameters=_path_parameters(rule),
            )
    return spec.to_dict()


def _method(rule: Rule) -> str:
    """Return the HTTP method of a route in lower case: the only one besides HEAD and OPTIONS, which Flask adds."""
    return next(method.lower() for method in sorted(rule.methods or ()) if method not in ("HEAD", "OPTIONS"))


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    """Return the OpenAPI parameter objects of the variables in a route (`user_id`, `id`), sorted by name."""
    return [
        {"in": "path", "name": name, "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in sorted(rule.arguments)
    ]


def _operation(app: Flask, rule: Rule) -> dict[str, Any]:
    """Return the OpenAPI operation object of a route; its summary is the first line of the view's docstring.

    A route without a `user_id` in its path is declared to need no token.
    """
    operation = OPERATIONS[rule.endpoint]
    described: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": (app.view_functions[rule.endpoint].__doc__ or "").strip().splitlines()[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "responses": _responses(operation),
    }
    if "user_id" not in rule.arguments:
        described["security"] = []
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.request_body:
        content = {media_type: {"schema": schema} for media_type, schema in _request_schemas(operation).items()}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _request_schemas(operation: Operation) -> Mapping[str, Any]:
    """Return {media type: schema, or name of its component} of the request body, which the operation must have."""
    body = operation.request_body
    return body if isinstance(body, Mapping) else dict.fromkeys(operation.request_types, body)


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    """Return the parameter objects of an operation: query, `If-Match` or `If-None-Match`, and `Idempotency-Key`.

    Empty if the operation has none of them. Those of the path are left out (`_path_parameters`).
    """
    parameters: list[dict[str, Any]] = [{"in": "query", "schema": operation.query}] if operation.query else []
    if name := operation.conditional_header:
        description = _CONDITIONAL_HEADERS[name]
        parameters.append({"in": "header", "name": name, "description": description, "schema": {"type": "string"}})
    if operation.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    return parameters


def _responses(operation: Operation) -> dict[str, Any]:
    """Return the responses of an operation by status: success, 304 if it accepts `If-None-Match`, and its problems.

    Problems of one status share a response. All operations can fail with `InternalError`.
    """
    is_limited = errors.TooManyRequests in operation.problems
    common = (*_COMMON_HEADERS, *(_RATE_LIMIT_HEADERS if is_limited else ()))
    responses = {str(operation.status): _success(operation, common)}
    if operation.conditional_header == IF_NONE_MATCH:
        responses["304"] = {
            "description": "Not modified: the client has the current version.",
            "headers": _header_references(*common, "ETag"),
        }
    by_status: defaultdict[int, list[type[Problem]]] = defaultdict(list)
    idempotency_problems = _IDEMPOTENCY_PROBLEMS if operation.idempotent else ()
    for problem in dict.fromkeys([*operation.problems, *idempotency_problems, errors.InternalError]):
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "; ".join(f"{problem.title} (`{problem.code}`)" for problem in problems),
            "headers": _header_references(*common, *_problem_headers(operation, status, problems)),
            "content": {MEDIA_TYPE: {"schema": "Problem"}},
        }
    return responses


def _success(operation: Operation, common_headers: tuple[str, ...]) -> dict[str, Any]:
    """Return the response object of an operation's success status; without `content` if it has no body."""
    replayed = ("Idempotency-Replayed",) if operation.idempotent else ()
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _header_references(*common_headers, *replayed, *operation.headers),
    }
    if body := operation.response:
        by_media_type = body if isinstance(body, Mapping) else {"application/json": body}
        success["content"] = {media_type: {"schema": schema} for media_type, schema in by_media_type.items()}
    return success


def _problem_headers(operation: Operation, status: int, problems: list[type[Problem]]) -> tuple[str, ...]:
    """Return the names of the headers that an error response of this status has in addition to the common ones.

    They depend on the status only, with two exceptions: `Idempotency-Replayed` if `TaskDeleted` is the only problem of
    the status, and `Accept-Patch` for 415 if the operation accepts several media types, which only a PATCH does.
    """
    if problems == [errors.TaskDeleted]:
        return ("Idempotency-Replayed",)
    if status == errors.UnsupportedMedia.status and len(operation.request_types) > 1:
        return ("Accept-Patch",)
    return _HEADERS_OF_STATUS.get(status, ())


def _header_references(*names: str) -> dict[str, str]:
    """Return {name: name} for each header; apispec replaces the value by a `$ref` to the component of that name."""
    return {name: name for name in names}
