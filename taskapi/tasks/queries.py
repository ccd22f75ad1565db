"""Read and change a single task. The first parameter is always the user, and every WHERE starts with `user_id`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sqlalchemy import (
    select,
)

from ..auth.tokens import User
from ..database.base import now
from ..database.prepared import Prepared, Rows
from ..database.unit_of_work import fetch, reads, writes
from . import models, series
from .folding import search_columns
from .models import Task
from .recurrence import schedule
from .statements.counters import bump_revision
from .statements.errors import TaskNotFound, VersionConflict
from .statements.insert import insert_next
from .statements.quota import check_stored_tasks_after
from .statements.rows import COLUMNS, OWNER, TASK, TaskRow
from .statements.update import set_members, toggle_completed

_LIVE_TASK = Prepared(select(*COLUMNS).where(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)))


_STORED_TASK = Prepared(select(*COLUMNS).where(Task.user_id == OWNER, Task.id == TASK, Task.purged_at.is_(None)))
_LOCK = Prepared(select(models.User.revision).where(models.User.user_id == OWNER).with_for_update())


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """The user's task of this id. Raises `TaskNotFound`, and `VersionConflict` for a version that is not expected."""
    (rows,) = fetch(_LIVE_TASK(owner=user.id, task=id))
    return _found(rows, expected)


@reads
def find_all(user: User, ids: Set[int]) -> Mapping[int, TaskRow]:
    """The tasks of these ids, by id, in the trash or not; those deleted permanently are left out."""
    # One statement for each, sent together: a list of ids would make another statement of each number of them.
    found = fetch(*(_STORED_TASK(owner=user.id, task=number) for number in ids)) if ids else ()
    return {row.id: row for rows in found for row in rows}


def _found(rows: Rows, expected: Set[int] | None) -> TaskRow:
    if not rows:
        raise TaskNotFound
    row = rows[0]
    if expected is not None and row.revision not in expected:
        raise VersionConflict(row)
    return row


@writes
def add(user: User, values: Mapping[str, Any]) -> TaskRow:
    """A new task, with the next id of the user's own counter. Raises `QuotaExceeded`."""
    row = insert_next(user, now(), values)
    check_stored_tasks_after(user, row.id)
    return row


@writes
def change(user: User, id: int, expected: Set[int] | None, values: Mapping[str, Any]) -> TaskRow:
    """Set some members of a task; if they have these values already, nothing changes, the version included.

    Raises `TaskNotFound`, `VersionConflict`, and ValidationError for members about time that contradict those not sent.
    """
    moment = now()
    columns = {**values, **search_columns(values)}
    if schedule.changes_schedule(values):
        current = _lock_and_find(user, id, expected)
        version: int | None = current.revision
        before = {name: getattr(current, name) for name in schedule.SCHEDULE_MEMBERS}
        after = {name: values.get(name, before[name]) for name in schedule.SCHEDULE_MEMBERS}
        columns |= {**after, **schedule.derive_due_columns(after)}
        schedule.check_next_occurrence(after, before)
    else:
        version = resolve_if_match(user, id, expected)
    row = set_members(user, id, version, moment, columns)
    if row is None:
        row = find(user, id, expected)
        # It is as it should be already. The count goes back, under the lock that this transaction still holds.
        bump_revision(user, -1)
        return row
    return series.sync_series(user, row, moment) if "completed" in values else row


@writes
def toggle(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Toggle `completed` atomically (SET completed = NOT completed), and create or remove the next task of a series.

    Raises `TaskNotFound` and `VersionConflict`.
    """
    moment = now()
    row = toggle_completed(user, id, resolve_if_match(user, id, expected), moment)
    if row is None:
        row = find(user, id, expected)  # says what stands in the way
    return series.sync_series(user, row, moment)


@writes  # part of one: it may lock
def resolve_if_match(user: User, id: int, expected: Set[int] | None) -> int | None:
    """The version that a task must have to be written, None for any.

    Of several it is the current one, which a lock keeps until the end of the transaction. Raises `TaskNotFound` and
    `VersionConflict`.
    """
    if expected is None:
        return None
    if len(expected) == 1:
        (version,) = expected
    else:
        version = _lock_and_find(user, id, expected).revision
    return version


def _lock_and_find(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Lock the user's row and find the task. Raises `TaskNotFound` and `VersionConflict`."""
    locked, rows = fetch(_LOCK(owner=user.id), _LIVE_TASK(owner=user.id, task=id))
    return _found(rows if locked else (), expected)
