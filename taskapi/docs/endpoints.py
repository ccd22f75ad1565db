"""Declarations of the API's operations: bodies, headers, parameters and possible errors of each endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema

from ..http import errors
from ..http.errors import Problem
from ..tasks import schemas
from ..tasks.listing import schemas as listing
from ..tasks.stats import schemas as stats
from ..tasks.sync import schemas as sync
from ..tasks.transfer import schemas as transfer
from ..tasks.trash import schemas as trash

IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"

_GUARD_PROBLEMS = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.TooManyRequests,
    errors.ServiceUnavailable,
    errors.BadParameter,
)
_SIZE_PROBLEMS = (errors.LengthRequired, errors.TooLarge)
_BODY_PROBLEMS = (errors.BadRequest, *_SIZE_PROBLEMS, errors.UnsupportedMedia, errors.ValidationFailed)
_VERSION_PROBLEMS = (errors.NotFound, errors.PreconditionFailed, errors.PreconditionRequired)

_TEXT = {"type": "string"}


@dataclass(frozen=True)
class Operation:
    """The part of an OpenAPI operation that the route and the view do not show.

    `status` is that of success, with the members `response` (a schema, the name of a component, or a mapping from media
    type to either; None for no body) and `headers`. `request_body` names the component of the body, in each media type
    of `request_types`, or maps each media type to a schema. `query` is the schema of the query parameters,
    `conditional_header` `If-Match` or `If-None-Match`. `idempotent` operations accept an `Idempotency-Key`. `problems`
    lists the possible error responses.
    """

    status: int
    response: Schema | str | Mapping[str, Any] | None = None
    headers: tuple[str, ...] = ()
    request_body: str | Mapping[str, Any] | None = None
    request_types: tuple[str, ...] = ("application/json",)
    body_required: bool = True
    query: Schema | None = None
    conditional_header: str | None = None
    idempotent: bool = False
    problems: tuple[type[Problem], ...] = ()


def _single_task_write(
    status: int, response: Schema | str | None, *problems: type[Problem], **options: Any
) -> Operation:
    """Return the declaration of a change of one task: `If-Match`, `Idempotency-Key`, the errors 404, 412 and 428.

    With a response body the success has an `ETag`, and its replay can fail with `TaskDeleted`. `problems` and `options`
    are further problems and members of `Operation`.
    """
    headers = ("ETag",) if response else ()
    deleted = (errors.TaskDeleted,) if response else ()
    every_problem: tuple[type[Problem], ...] = (*_GUARD_PROBLEMS, *_VERSION_PROBLEMS, *deleted, *problems)
    return Operation(
        status, response, headers, conditional_header=IF_MATCH, idempotent=True, problems=every_problem, **options
    )


OPERATIONS: Mapping[str, Operation] = {
    "tasks.index": Operation(
        200,
        schemas.tasks_out,
        ("ETag", "Link", "X-Total-Count"),
        query=listing.list_query,
        conditional_header=IF_NONE_MATCH,
        problems=(*_GUARD_PROBLEMS, errors.BadCursor),
    ),
    "tasks.create": Operation(
        201,
        schemas.task_out,
        ("ETag", "Location"),
        request_body="TaskCreate",
        idempotent=True,
        problems=(*_GUARD_PROBLEMS, *_BODY_PROBLEMS, errors.TaskDeleted, errors.QuotaExceeded),
    ),
    "tasks.show": Operation(
        200, schemas.task_out, ("ETag",), conditional_header=IF_NONE_MATCH, problems=(*_GUARD_PROBLEMS, errors.NotFound)
    ),
    "tasks.update": _single_task_write(
        200,
        schemas.task_out,
        *_BODY_PROBLEMS,
        errors.QuotaExceeded,
        request_body="TaskUpdate",
        query=schemas.completion_query,
    ),
    "tasks.patch": _single_task_write(
        200,
        schemas.task_out,
        *_BODY_PROBLEMS,
        errors.QuotaExceeded,
        request_body="TaskUpdate",
        request_types=("application/merge-patch+json", "application/json"),
        query=schemas.completion_query,
    ),
    "tasks.delete": _single_task_write(204, None, *_SIZE_PROBLEMS, query=trash.delete_query),
    "tasks.complete": _single_task_write(
        200,
        schemas.task_out,
        *_BODY_PROBLEMS,
        errors.QuotaExceeded,
        request_body="Completion",
        body_required=False,
        query=schemas.completion_query,
    ),
    "tasks.restore": _single_task_write(
        200, schemas.task_out, *_BODY_PROBLEMS, errors.QuotaExceeded, request_body="Nothing", body_required=False
    ),
    "tasks.move": _single_task_write(200, schemas.task_out, *_BODY_PROBLEMS, request_body="Move"),
    "data.batch": Operation(
        200,
        "BatchResult",
        request_body="Batch",
        query=schemas.completion_query,
        idempotent=True,
        problems=(*_GUARD_PROBLEMS, *_BODY_PROBLEMS, errors.NotFound, errors.PreconditionFailed, errors.QuotaExceeded),
    ),
    "data.changes": Operation(
        200,
        "Changes",
        ("ETag",),
        query=sync.changes_query,
        conditional_header=IF_NONE_MATCH,
        problems=(*_GUARD_PROBLEMS, errors.BadCursor, errors.Gone),
    ),
    "data.stats": Operation(200, stats.StatsOut(), query=stats.stats_query, problems=_GUARD_PROBLEMS),
    "data.export": Operation(
        200,
        {"application/json": "Export", "text/csv; charset=utf-8": _TEXT, "text/calendar; charset=utf-8": _TEXT},
        ("Content-Disposition",),
        query=transfer.export_query,
        problems=_GUARD_PROBLEMS,
    ),
    "data.import_": Operation(
        200,
        transfer.ImportOut(),
        request_body={"application/json": "Import", "text/csv": _TEXT, "text/calendar": _TEXT},
        idempotent=True,
        problems=(*_GUARD_PROBLEMS, *_BODY_PROBLEMS, errors.QuotaExceeded),
    ),
    "data.erase": Operation(204, problems=(*_GUARD_PROBLEMS, errors.BadRequest, *_SIZE_PROBLEMS)),
    "backchannel.logout": Operation(
        200,
        request_body="LogoutNotice",
        request_types=("application/x-www-form-urlencoded",),
        problems=(
            errors.BadRequest,
            errors.InvalidLogoutToken,
            *_SIZE_PROBLEMS,
            errors.UnsupportedMedia,
            errors.ServiceUnavailable,
        ),
    ),
    "health.healthz": Operation(200, "Health"),
    "health.readyz": Operation(200, "Readiness", problems=(errors.ServiceUnavailable,)),
}
"""The operations by endpoint. A test checks that every route of the API has one."""
