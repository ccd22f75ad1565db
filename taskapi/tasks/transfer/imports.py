"""Import tasks from the document of an export: compute the rows first, then write them in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from ...auth.tokens import User
from ...database.unit_of_work import fetch, writes
from .. import positions
from ..statements.counters import BUMP_REVISION, bind_allocation, bump_revision
from ..statements.quota import check_quota, check_stored_tasks
from . import import_statements as statements
from .import_plan import NEW, Plan

ATTEMPTS = 5
"""How often an import is computed before it is refused because the tasks that it names keep changing."""


class PlanOutdated(Exception):
    """Tasks that a plan was computed from have changed since; nothing is written."""


def is_unchanged(user: User, plan: Plan) -> bool:
    """Return True if a plan writes nothing, and nothing was written since it was computed."""
    return not plan.rows and statements.revision(user) == plan.revision


@writes
def write(user: User, plan: Plan) -> Mapping[str, int]:
    """Write the rows of a plan; return the numbers of `created`, `updated` and `unchanged` tasks.

    Raises `PlanOutdated` and `QuotaExceeded`. What can be computed without the lock of the transaction is in the plan.
    """
    new = sum(row["id"] == NEW for row in plan.rows)
    _, (counters,) = fetch(
        bind_allocation(user, 0, plan.last_named_id), BUMP_REVISION(owner=user.id, by=0, ids=new, live=plan.live)
    )
    other_writes = counters.revision != plan.revision + 1
    if other_writes and statements.have_changed(user, plan.revision, plan.named, plan.in_series):
        raise PlanOutdated
    if not plan.rows:
        bump_revision(user, -1)  # nothing has changed: undo the increment
        return plan.counts
    if plan.live > 0:
        check_quota(counters.live_tasks)
    statements.write_rows(user, _numbered(plan, counters, new), plan.moved)
    check_stored_tasks(user)
    return plan.counts


def _numbered(plan: Plan, counters: Any, new: int) -> list[dict[str, Any]]:
    """Return the rows of a plan with the revision, and the `new` ones with the ids that were allocated last.

    Only the rows without an id are copied: an interrupted transaction is repeated and allocates others.
    """
    next_ids = count(counters.last_task_id - new + 1)
    for row in plan.rows:
        row["revision"] = counters.revision
    return [_with_id(row, next(next_ids)) if row["id"] == NEW else row for row in plan.rows]


def _with_id(row: dict[str, Any], id: int) -> dict[str, Any]:
    """Return a copy of a row with its allocated id and, if it has no position, the initial position for that id."""
    return {**row, "id": id, "position": row["position"] or positions.initial_position(id)}
