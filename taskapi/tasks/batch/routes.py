"""`POST /tasks/batch`: make several changes in one request."""

from __future__ import annotations

from flask import Response, g
from marshmallow import ValidationError

from ...guard.rate_limit import charge
from ...http.errors import Problem
from ...http.fields import strict
from ...http.large_responses import with_large_response_permit
from ...http.request import accepts, long_json_body, query_parameters
from ...http.response import json_response
from ..blueprints import MAX_BULK_BODY_BYTES, data_bp
from ..costs import OPERATIONS_PER_UNIT
from ..replays import idempotent
from ..responses import as_problem
from ..schemas import completion_query, task_out
from . import queries
from .schemas import batch_in


@data_bp.post("/tasks/batch", strict_slashes=False)
@accepts("application/json", max_bytes=MAX_BULK_BODY_BYTES)
@with_large_response_permit
@idempotent
def batch() -> Response:
    """Make up to 100 changes, all or none.

    Waits for a permit of a large response, and charges the rate limit for the operations. The error of a failed
    operation points to it (`/operations/3`).
    """
    zone = query_parameters(completion_query).get("tz")
    operations = long_json_body(batch_in)["operations"]
    charge(len(operations) // OPERATIONS_PER_UNIT)
    try:
        rows = queries.apply(g.user, operations, zone)
    except queries.OperationFailed as failure:
        in_task = isinstance(failure.cause, ValidationError) and "task" in operations[failure.index]
        raise _problem(failure, in_task=in_task) from failure
    return json_response({"results": [row and task_out.dump(row) for row in rows]})


def _problem(failure: queries.OperationFailed, *, in_task: bool) -> Problem:
    """Return the problem document of a failed operation: its `errors` and `detail` point into `operations`.

    With `in_task` they point to the operation's `task`, whose members `failure.cause` is about.
    """
    problem = as_problem(failure.cause)
    pointer = f"/operations/{failure.index}" + ("/task" if in_task else "")
    errors = problem.members.get("errors") or [{"pointer": "", "detail": problem.detail, "code": problem.code}]
    problem.members["errors"] = [{**error, "pointer": pointer + error["pointer"]} for error in errors]
    problem.detail = strict.describe(problem.members["errors"], "Body")
    return problem
