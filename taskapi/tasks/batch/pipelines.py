"""Prepare operations of a batch whose statements can be sent together, because the tasks they change are known.

The user's row is locked and the tasks are read first, so it is known what each operation does. `queries` sends the
statements of many operations in one round trip, and carries every other operation out by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from ...auth.tokens import User
from ...database.base import now
from ...database.lists import integers, is_one_of
from ...database.prepared import BoundStatement, Prepared
from ...database.transactions import fetch
from ..folding import search_columns
from ..members import DEFAULTS
from ..models import Task
from ..recurrence import schedule
from ..statements.counters import LOCK_USER
from ..statements.insert import bind_insert
from ..statements.quota import check_quota, check_stored_tasks_after
from ..statements.rows import COLUMNS, OWNER, TaskRow
from ..statements.update import bind_change, bind_removal

PIPELINED_OPERATIONS = 25
"""Operations whose statements are sent together, before other requests run: some milliseconds.

A batch of 100 takes 6 round trips: it reads the tasks, sends four times, and commits.
"""

_LIVE_TASKS = Prepared(
    select(*COLUMNS).where(Task.user_id == OWNER, is_one_of(Task.id, integers("ids")), Task.deleted_at.is_(None))
)


class Pipelined(NamedTuple):
    """An operation that can be sent with others: its statements, or, if it changes nothing, the task `unchanged`."""

    operation: Mapping[str, Any]
    statements: tuple[BoundStatement, ...] = ()
    unchanged: TaskRow | None = None

    def result(self, user: User, results: Sequence[Sequence[Any]]) -> TaskRow | None:
        """Return the task after the operation, None for a deleted one; `results` has the rows of each statement.

        Raises `QuotaExceeded` if a created task exceeds the quota of live tasks, or, at every `CHECK_EVERY`th id, that
        of the trash.
        """
        if not self.statements:
            return self.unchanged
        (counters,), (row,) = results
        if self.operation["op"] == "create":
            check_quota(counters.live_tasks)
            check_stored_tasks_after(user, row.id)
        return None if self.operation["op"] == "delete" else row


def lock_and_read(user: User, operations: Iterable[Mapping[str, Any]]) -> dict[int, TaskRow]:
    """Lock the user's row until the end of the transaction; return the live tasks that the operations name, by id.

    {} for a user without a row. Runs in the caller's transaction.
    """
    ids = sorted({operation["id"] for operation in operations if "id" in operation})
    locked, rows = fetch(LOCK_USER(owner=user.id), _LIVE_TASKS(owner=user.id, ids=ids))
    return {row.id: row for row in rows} if locked else {}


def prepare(user: User, operation: Mapping[str, Any], current: Mapping[int, TaskRow]) -> Pipelined | None:
    """Prepare an operation to be sent with others; None if it must be applied by itself, which also finds its errors.

    `current` has the live tasks as they are then, by id. None if the task is not among them or its version differs, for
    `restore` and `move`, and if the next task of a series may be created or removed. Raises ValidationError for
    contradictory members about time. Sends nothing.
    """
    if operation["op"] == "create":
        return Pipelined(operation, bind_insert(user, now(), operation["task"]))
    row = current.get(operation.get("id", 0))
    if row is None or operation.get("version", row.revision) != row.revision:
        return None
    if operation["op"] == "delete":
        return Pipelined(operation, bind_removal(user, row.id, now()))
    if operation["op"] == "update":
        return _prepare_change(user, operation, row, operation["task"])
    if operation["op"] == "complete":
        return _prepare_change(user, operation, row, {"completed": operation["completed"]})
    return None


def _prepare_change(
    user: User, operation: Mapping[str, Any], row: TaskRow, values: Mapping[str, Any]
) -> Pipelined | None:
    """Prepare an update of `row` to `values`; None if it may create or remove the next task of a series.

    It has no statements if `row` has these values already. Raises ValidationError for contradictory members about time.
    """
    after = {name: values.get(name, getattr(row, name)) for name in ("title", *DEFAULTS)}
    if "completed" in values and (after["recurrence"] is not None or row.next_task_id is not None):
        return None
    columns = {**values, **search_columns(values)}
    if schedule.changes_schedule(values):
        columns |= {name: after[name] for name in schedule.SCHEDULE_MEMBERS} | schedule.derive_due_columns(after)
        schedule.check_next_occurrence(after, {name: getattr(row, name) for name in schedule.SCHEDULE_MEMBERS})
    if all(getattr(row, name) == value for name, value in after.items()):
        return Pipelined(operation, unchanged=row)
    return Pipelined(operation, bind_change(user, row.id, now(), columns))
