"""Read and change a single task. The first parameter is the user, and every WHERE begins with `user_id`.

On PostgreSQL the usual write takes one round trip (`…_and_commit` of the statement modules). If that changes nothing, a
read finds the reason, or the function marked @writes runs: it finds the reason, or makes the change in several steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sqlalchemy import select

from ..auth.tokens import User
from ..database.base import now
from ..database.prepared import Prepared, Rows
from ..database.transactions import fetch, reads, writes
from . import series
from .folding import search_columns
from .models import Task
from .recurrence import schedule
from .state import cache_revision
from .statements.counters import LOCK_USER, bump_revision
from .statements.errors import TaskNotFound, VersionConflict
from .statements.insert import insert_and_commit, insert_next
from .statements.quota import check_stored_tasks_after
from .statements.rows import COLUMNS, OWNER, TASK, TaskRow
from .statements.update import (
    may_commit,
    set_members,
    set_members_and_commit,
    toggle_and_commit,
    toggle_completed,
)

_LIVE_TASK = Prepared(select(*COLUMNS).where(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)))
_STORED_TASK = Prepared(select(*COLUMNS).where(Task.user_id == OWNER, Task.id == TASK, Task.purged_at.is_(None)))


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """Return the user's live task with this id; `expected` are the versions it may have (None: any).

    Raises `TaskNotFound`, also for a task in the trash, and `VersionConflict`.
    """
    (rows,) = fetch(_LIVE_TASK(owner=user.id, task=id))
    return _require(rows, expected)


@reads
def find_all(user: User, ids: Set[int]) -> Mapping[int, TaskRow]:
    """Return the user's tasks with these ids by id, in the trash or not; no entry for other ids and tombstones."""
    # A prepared statement for each id, sent in one round trip: `IN` would be another statement for each number of ids.
    results = fetch(*(_STORED_TASK(owner=user.id, task=task_id) for task_id in ids)) if ids else ()
    return {row.id: row for rows in results for row in rows}


def _require(rows: Rows, expected: Set[int] | None) -> TaskRow:
    """Return the first row. Raises `TaskNotFound` if there is none.

    Raises `VersionConflict`, which has the row, if its version is not in `expected` (None: any).
    """
    if not rows:
        raise TaskNotFound
    row = rows[0]
    if expected is not None and row.revision not in expected:
        raise VersionConflict(row)
    return row


def add(user: User, values: Mapping[str, Any]) -> TaskRow:
    """Insert a task with the next id of the user's own counter and return its row; `values` are its members.

    Joins the caller's transaction, if any; otherwise commits, on PostgreSQL in one round trip. Raises `QuotaExceeded`,
    and ValidationError for invalid members about time.
    """
    row = insert_and_commit(user, now(), values) or _add(user, values)
    cache_revision(user, row.revision)
    return row


@writes
def _add(user: User, values: Mapping[str, Any]) -> TaskRow:
    """Insert a task as `add` does, in several round trips, and check the quota of stored tasks; return its row.

    Joins the caller's transaction, if any; otherwise commits.
    """
    row = insert_next(user, now(), values)
    check_stored_tasks_after(user, row.id)
    return row


def change(
    user: User, id: int, expected: Set[int] | None, values: Mapping[str, Any], zone: str | None = None
) -> TaskRow:
    """Set the members in `values` of a live task; with `completed`, create or remove the next task (`sync_series`).

    Returns the row after that; if all values are stored already nothing is written, and the version stays. `expected`
    are the versions that it may have (None: any), `zone` is the user's time zone (None: UTC). Joins the caller's
    transaction, if any; otherwise commits. Raises `TaskNotFound`, `VersionConflict`, `QuotaExceeded` for the next task,
    and ValidationError for members about time that contradict those that stay, or a rule without a next date.
    """
    columns = {**values, **search_columns(values)}
    row = None
    if not schedule.changes_schedule(values):
        row = set_members_and_commit(user, id, expected, now(), columns)
        if row is None and "completed" not in values and may_commit(expected):
            # Nothing was changed, and no further steps are needed: a read finds why, without a lock on the user's row.
            row = _unchanged(find(user, id, expected), values)
    row = row or _change(user, id, expected, values, columns, zone=zone)
    cache_revision(user, row.revision)
    return row


def _unchanged(row: TaskRow, values: Mapping[str, Any]) -> TaskRow | None:
    """Return the row if it has all the values already; None if not, because it was changed between two statements."""
    return row if all(getattr(row, name) == value for name, value in values.items()) else None


@writes
def _change(
    user: User,
    id: int,
    expected: Set[int] | None,
    values: Mapping[str, Any],
    columns: dict[str, Any],
    *,
    zone: str | None,
) -> TaskRow:
    """Change a task as `change` does, in several round trips; return its row, and raise the same errors.

    `columns` are those to set that do not depend on the stored task. Joins the caller's transaction, if any; otherwise
    commits.
    """
    written_at = now()
    if schedule.changes_schedule(values):
        current = _lock_and_find(user, id, expected)
        version: int | None = current.revision
        before = {name: getattr(current, name) for name in schedule.SCHEDULE_MEMBERS}
        after = {name: values.get(name, before[name]) for name in schedule.SCHEDULE_MEMBERS}
        columns = {**columns, **after, **schedule.derive_due_columns(after)}
        schedule.check_next_occurrence(after, before)
    else:
        version = resolve_if_match(user, id, expected)
    row = set_members(user, id, version, written_at, columns)
    if row is None:
        row = find(user, id, expected)
        # All values are set already: take the increment of the revision back, under the lock of this transaction.
        bump_revision(user, -1)
        return row
    return series.sync_series(user, row, written_at, zone) if "completed" in values else row


def toggle(user: User, id: int, expected: Set[int] | None, zone: str | None = None) -> TaskRow:
    """Toggle `completed` of a live task atomically (SET completed = NOT completed); return its row after that.

    Creates or removes the next task of a series (`sync_series`). `expected` are the versions that it may have (None:
    any), `zone` is the user's time zone (None: UTC). Joins the caller's transaction, if any; otherwise commits. Raises
    `TaskNotFound`, `VersionConflict` and `QuotaExceeded`.
    """
    row = toggle_and_commit(user, id, expected, now()) or _toggle(user, id, expected, zone)
    cache_revision(user, row.revision)
    return row


@writes
def _toggle(user: User, id: int, expected: Set[int] | None, zone: str | None) -> TaskRow:
    """Toggle a task as `toggle` does, errors included, in several round trips; return its row.

    Joins the caller's transaction, if any; otherwise commits.
    """
    written_at = now()
    row = toggle_completed(user, id, resolve_if_match(user, id, expected), written_at)
    if row is None:
        row = find(user, id, expected)  # raises TaskNotFound or VersionConflict
    return series.sync_series(user, row, written_at, zone)


@writes  # joins the transaction of the caller, and may lock the user's row
def resolve_if_match(user: User, id: int, expected: Set[int] | None) -> int | None:
    """Return the one version of If-Match that an UPDATE compares; None for any version. Joins the caller's transaction.

    A single version is returned without a look at the task. Of several, or none, it is the current one of the live
    task, which the lock on the user's row keeps until the end of the transaction: the text of a statement must not
    depend on how many versions a client sends. Only then raises `TaskNotFound`, and `VersionConflict` if that version
    is not expected.
    """
    if expected is None:
        return None
    if len(expected) == 1:
        (version,) = expected
    else:
        version = _lock_and_find(user, id, expected).revision
    return version


def _lock_and_find(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Lock the user's row until the end of the caller's transaction, and return the live task.

    Raises as `find` does, and `TaskNotFound` for a user without a row, too.
    """
    locked, rows = fetch(LOCK_USER(owner=user.id), _LIVE_TASK(owner=user.id, task=id))
    return _require(rows if locked else (), expected)
