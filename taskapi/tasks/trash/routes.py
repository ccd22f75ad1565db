"""Delete and restore: `DELETE /tasks/{id}` and `POST /tasks/{id}/restore`."""

from __future__ import annotations

from flask import Response, g, request

from ...http.request import json_body
from ...http.response import no_content
from ..blueprints import tasks_bp
from ..preconditions import task_precondition
from ..queries import find as find_live
from ..replays import idempotent
from ..responses import task_response
from ..schemas import no_members
from . import queries
from .schemas import delete_query


@tasks_bp.delete("/<task:id>", strict_slashes=False)
@idempotent
def delete(id: str) -> Response:
    """Move a task to the trash, or delete it permanently with `permanent=true`.

    Responds 404 for a task that is in the trash already, unless it is deleted permanently.
    """
    # Read before it is validated: the lookup depends on it, and 404 precedes the 400 of an invalid parameter.
    permanent = request.args.get("permanent") == "true"
    with task_precondition(id, query=delete_query, find=queries.find if permanent else find_live) as (
        task,
        versions,
        _,
    ):
        (queries.destroy if permanent else queries.remove)(g.user, task, versions)
    return no_content()


@tasks_bp.post("/<task:id>/restore", strict_slashes=False)
@idempotent
def restore(id: str) -> Response:
    """Restore a task from the trash; a live task stays as it is."""
    with task_precondition(id, find=queries.find) as (task, versions, _):
        json_body(no_members)
        return task_response(queries.restore(g.user, task, versions))
