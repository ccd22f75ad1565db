"""The components of the OpenAPI document: the schemas of bodies, and the response headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from marshmallow import Schema

from ..http import errors
from ..tasks import schemas
from ..tasks.batch import schemas as batch
from ..tasks.moves import schemas as moves
from ..tasks.stats import schemas as stats
from ..tasks.sync import schemas as sync
from ..tasks.transfer import schemas as transfer

if TYPE_CHECKING:
    from apispec import APISpec

_HEADERS = {
    "X-Request-Id": "The id of the request in logs and error bodies: the one you sent, if it is valid.",
    "Cache-Control": "`private, no-cache`; on errors, and when a session has ended, `no-store`.",
    "Vary": "`Authorization, Origin`.",
    "X-Content-Type-Options": "`nosniff`.",
    "ETag": "The version of the response, in quotes; for `If-Match` and `If-None-Match`.",
    "Location": "The URL of the new task.",
    "Link": 'The next page, as `<…>; rel="next"`; absent on the last.',
    "X-Total-Count": "The number of tasks on all pages; with `include=total` only.",
    "WWW-Authenticate": "The challenge of RFC 6750; with `error` and `error_description` if the request had a token.",
    "Retry-After": "Seconds to wait before the next attempt.",
    "RateLimit": "Requests left (`r`), and seconds until that number grows by one (`t`); absent if limits are off.",
    "RateLimit-Policy": "The limit: requests (`q`) per window of seconds (`w`).",
    "Idempotency-Replayed": "`true` when this is the stored response to an earlier request with the same key.",
    "Content-Disposition": "The name of the file to save.",
    "Accept-Patch": "The accepted media types.",
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `detail` is always a string and says how to correct the request.",
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
                        "description": "A JSON Pointer into the body, `/name` of a parameter, `/lines/12` of a file.",
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

_MARSHMALLOW_SCHEMAS: dict[str, Schema] = {
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


def _array(component: str, **keywords: Any) -> dict[str, Any]:
    """Return the JSON Schema of an array of a component, with further keywords such as `maxItems`."""
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{component}"}, **keywords}


def _object(**properties: Any) -> dict[str, Any]:
    """Return the JSON Schema of an object whose members are all required, and which has no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_JSON_SCHEMAS: dict[str, dict[str, Any]] = {
    "Health": _object(status={"const": "ok"}),
    "Readiness": {
        "type": "object",
        "properties": {
            "status": {"enum": ["ok", "degraded"]},
            "detail": {"type": "string", "description": "With `degraded`: what an operator has to correct."},
        },
        "required": ["status"],
        "additionalProperties": False,
    },
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
            "description": "The task after each operation; null for a deleted one.",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Task"}, {"type": "null"}]},
        }
    ),
    "Changes": _object(
        items={
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/components/schemas/Task"}, {"$ref": "#/components/schemas/Tombstone"}]},
        },
        next={"type": "string", "description": "The sync token for the next request: send it as `since`."},
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


def add_components(spec: APISpec) -> None:
    """Add all schemas and response headers to the components of `spec`, in place."""
    for name, schema in _MARSHMALLOW_SCHEMAS.items():
        spec.components.schema(name, schema=schema)
    for name in ("TaskCreate", "TaskUpdate"):
        for member in sorted(schemas.TaskIn.ignored):
            spec.components.schemas[name]["properties"][member] = {"readOnly": True, "description": "Ignored."}
    components = spec.components.schemas
    components["Move"] |= {"minProperties": 1, "maxProperties": 1}
    components["Operation"] = {"oneOf": list(_batch_operation_schemas(components["Operation"]["properties"]))}
    for name, component in _JSON_SCHEMAS.items():
        spec.components.schema(name, component)
    for name, description in _HEADERS.items():
        spec.components.header(name, {"description": description, "schema": {"type": "string"}})


def _batch_operation_schemas(members: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema for each kind of batch operation, and two for `move`, which needs either `before` or `after`.

    `members` has the schemas of all members by name.
    """
    for name, (required, optional) in batch.MEMBERS_OF_OPERATION.items():
        sides = optional & {"before", "after"}
        for side in sorted(sides) or [""]:
            present = {*required, *([side] if side else [])}
            properties = {member: members[member] for member in sorted(present | optional - sides)}
            if "task" in required:
                properties["task"] = {
                    "$ref": f"#/components/schemas/{'TaskCreate' if name == 'create' else 'TaskUpdate'}"
                }
            yield {
                "type": "object",
                "properties": {"op": {"const": name}, **properties},
                "required": ["op", *sorted(present)],
                "additionalProperties": False,
            }
