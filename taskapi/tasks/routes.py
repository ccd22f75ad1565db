"""The endpoints of a single task: create, read, change, complete. The guard has checked the request before a view."""

from __future__ import annotations

from flask import Response, g

from ..http.request import accepts, if_none_match, json_body, matches_etag, query_parameters
from ..http.response import not_modified
from . import queries
from .blueprints import tasks_bp
from .etags import task_etag
from .preconditions import parse_task_id, task_precondition
from .replays import idempotent
from .responses import path_of_tasks, task_response
from .schemas import completion_in, completion_query, no_parameters, task_in

MERGE_PATCH = "application/merge-patch+json"


@tasks_bp.post("", strict_slashes=False)
@idempotent
def create() -> Response:
    """Add a task.

    Responds 201 with the task and its URL in `Location`. Raises `QuotaExceeded` (409), and problems of the body.
    """
    query_parameters(no_parameters)
    user = g.user
    row = queries.add(user, json_body(task_in))
    return task_response(row, 201, {"Location": f"{path_of_tasks(user)}/{row.id}"})


@tasks_bp.get("/<task:id>", strict_slashes=False)
def show(id: str) -> Response:
    """Get one task.

    Responds 304 if its ETag is in If-None-Match. A task in the trash is 404, as is one that does not exist.
    """
    row = queries.find(g.user, parse_task_id(id))
    query_parameters(no_parameters)
    return not_modified(task_etag(row)) if matches_etag(task_etag(row), if_none_match()) else task_response(row)


@tasks_bp.put("/<task:id>", strict_slashes=False)
@idempotent
def update(id: str) -> Response:
    """Change the members that are sent, as PATCH does; others keep their values, and null resets one to its default."""
    with task_precondition(id, query=completion_query) as (task, versions, query):
        values = json_body(task_in, partial=True)
        return task_response(queries.change(g.user, task, versions, values, query.get("tz")))


@tasks_bp.patch("/<task:id>", strict_slashes=False)
@accepts(MERGE_PATCH, "application/json")
@idempotent
def patch(id: str) -> Response:
    """Change a task by a merge patch (RFC 7396).

    Members that are absent keep their values; null resets one to its default. Responds with the task after the change.
    Raises 404, 412 and 428 (`task_precondition`).
    """
    with task_precondition(id, query=completion_query) as (task, versions, query):
        values = json_body(task_in, partial=True)
        return task_response(queries.change(g.user, task, versions, values, query.get("tz")))


@tasks_bp.patch("/<task:id>/complete", strict_slashes=False)
@idempotent
def complete(id: str) -> Response:
    """Toggle completion, or set it with `completed`, which is safe to repeat.

    Creates or removes the next task of a series. Responds with the task after that. Raises 404, 412 and 428
    (`task_precondition`).
    """
    with task_precondition(id, query=completion_query) as (task, versions, query):
        values, zone = json_body(completion_in), query.get("tz")
        if values:
            return task_response(queries.change(g.user, task, versions, values, zone))
        return task_response(queries.toggle(g.user, task, versions, zone))
