"""Import tasks from the document of an export: compute the rows first, then write them in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...auth.tokens import User
from ...database.transactions import fetch, writes
from .. import positions
from ..statements.counters import BUMP_REVISION, bind_allocation, bump_revision
from ..statements.quota import check_quota, check_stored_tasks
from . import import_statements as statements
from .import_plan import Plan
from .import_statements import ID, POSITION, REVISION

Result = Mapping[str, Any]
"""The response of an import (`ImportOut`) without `dropped`."""

ATTEMPTS = 5
"""How often an import is computed before it is refused because the tasks that it names keep changing."""


class PlanOutdated(Exception):
    """Tasks that a plan was computed from have changed since; the transaction is rolled back."""


def unchanged_result(plan: Plan) -> Result:
    """Return the `Result` of a plan without rows: its counts, and no renumbered task. Reads and writes nothing."""
    return {**plan.counts, "renumbered": []}


def is_unchanged(user: User, plan: Plan) -> bool:
    """Return True if a plan has no rows, and the user's revision is still the one that it was computed at."""
    return not plan.rows and statements.revision(user) == plan.revision


@writes
def write(user: User, plan: Plan) -> Result:
    """Write the rows of a plan; return its counts, and the old and the new number of each renumbered task.

    Joins the caller's transaction, if any; otherwise commits. Increments the revision once, for a plan without rows not
    at all. Raises `PlanOutdated`, also for a plan without rows, and `QuotaExceeded`.
    """
    _, (counters,) = fetch(
        bind_allocation(user, 0, plan.last_kept),
        BUMP_REVISION(owner=user.id, by=0, ids=plan.allocated, live=plan.live),
    )
    other_writes = counters.revision != plan.revision + 1
    if other_writes and statements.have_changed(user, plan.revision, plan.named_counts, plan.series_counts):
        raise PlanOutdated
    if not plan.rows:
        bump_revision(user, -1)  # nothing has changed: undo the increment
        return unchanged_result(plan)
    if plan.live > 0:
        check_quota(counters.live_tasks)
    _assign_ids(plan, counters)
    statements.write_rows(user, plan.rows, plan.moved)
    check_stored_tasks(user)
    return {**plan.counts, "renumbered": [{"from": number, "to": row[ID]} for number, row in plan.renumbered]}


def _assign_ids(plan: Plan, counters: Any) -> None:
    """Set in the rows of a plan, in place: the revision, the newly allocated numbers, and missing positions.

    `counters` are those after the allocation. Without new objects the garbage collector does not run while SQLite's
    write lock is held. A transaction that is run again sets them again.
    """
    for row in plan.rows:
        row[REVISION] = counters.revision
    first = counters.last_task_id - plan.allocated + 1
    for row, column, offset in plan.unnumbered:
        row[column] = first + offset
    for row in plan.without_position:
        row[POSITION] = positions.initial_position(row[ID])
