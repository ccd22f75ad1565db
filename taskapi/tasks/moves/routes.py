"""`POST /tasks/{id}/move`: put a task before or after another one in the manual order."""

from __future__ import annotations

from flask import Response, g

from ...guard.rate_limit import charge
from ...http.request import json_body
from ..blueprints import tasks_bp
from ..costs import MOVE
from ..long_requests import long_writes
from ..preconditions import task_precondition
from ..replays import idempotent
from ..responses import task_response
from . import queries
from .schemas import move_in


@tasks_bp.post("/<task:id>/move", strict_slashes=False)
@long_writes.limit
@idempotent
def move(id: str) -> Response:
    """Move a task before or after another one in the manual order.

    Waits for a permit for long writes, and charges the rate limit `MOVE` units.
    """
    with task_precondition(id) as (task, versions, _):
        ((side, other),) = json_body(move_in).items()
        charge(MOVE)
        return task_response(queries.move(g.user, task, versions, before=side == "before", other=other))
