"""UPDATE of a task, atomic (compare and set), sent in one round trip with the increment of the user's revision.

Each change has two statements. The first comes after the increment in the transaction of a unit of work, which judges
the result. The second (`…_and_commit`, PostgreSQL) includes the increment and is committed in the same round trip, so
it changes nothing, neither the task nor the counters, unless the task exists, has the version and needs nothing else.
If another request changes the task while the statement waits for the user's row, the revision may be incremented
although the task stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from ...auth.tokens import User
from ...database.base import UTCDateTime
from ...database.prepared import BoundStatement, Prepared
from ...database.transactions import commits_in_one_round_trip, execute, fetch, fetch_and_commit
from .. import models
from ..members import DEFAULTS
from ..models import Task
from ..recurrence import schedule
from .counters import BUMP_REVISION, LOCK_USER
from .errors import TaskNotFound
from .rows import COLUMNS, MEMBER_BINDS, OWNER, TASK, TaskRow

_COLUMN_GROUPS = {
    "title": ("title", "folded_title"),
    "description": ("description", "folded_description"),
    "completed": ("completed",),
    "priority": ("priority",),
    "tags": ("tags", "folded_tags"),
    "time": (*schedule.SCHEDULE_MEMBERS, "due_at", "due_order"),
}
"""The columns that a change can set. All columns of a group are set together, or none of them."""

_SETS = {
    name: bindparam(f"sets_{group}", type_=Boolean)  # the columns of a group share one bind parameter
    for group, names in _COLUMN_GROUPS.items()
    for name in names
}
"""By column: whether a change sets it."""

_UNCHANGED = dict.fromkeys(_SETS) | {"tags": (), "folded_tags": ()}
"""Values bound for the columns that a change does not set; the CASE of `_CHANGE` ignores them."""

_VERSION, _WRITTEN_AT = bindparam("version", type_=BigInteger), bindparam("written_at", type_=UTCDateTime)
_MATCHES_VERSION = (
    *(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)),
    or_(_VERSION.is_(None), Task.revision == _VERSION),
)
_IS_SINGLE = and_(Task.recurrence.is_(None), Task.next_task_id.is_(None))
"""Completing or reopening the task neither creates nor removes the next task of a series (series.py)."""


class _Change:
    """The two statements of a change of a live task that has the expected version and meets further `conditions`.

    `values` are the columns to set, `live` is added to the number of live tasks. `only_commit_if` is a condition of the
    statement that is committed with the increment only.
    """

    def __init__(
        self,
        values: Mapping[str, ColumnElement[Any]],
        *conditions: ColumnElement[bool],
        only_commit_if: ColumnElement[bool] | None = None,
        live: int = 0,
    ) -> None:
        self.live = live
        conditions = (*_MATCHES_VERSION, *conditions)
        revision = select(models.User.revision).where(models.User.user_id == OWNER).scalar_subquery()
        self.statement = Prepared(_update(values, revision, *conditions))
        if only_commit_if is not None:
            conditions = (*conditions, only_commit_if)
        counters = _increment(live, exists().where(*conditions).correlate(None)).cte("counters")
        self.including_increment = Prepared(
            _update(values, counters.c.revision, *conditions, Task.user_id == counters.c.user_id)
        )


def _update(
    values: Mapping[str, Any], revision: ColumnElement[int], *conditions: ColumnElement[bool]
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Return the UPDATE of the task that meets the conditions: it sets `values`, `revision` and `updated_at`.

    `updated_at` is the bind parameter `written_at`. The UPDATE returns `COLUMNS` of the changed row (RETURNING).
    """
    stamps = {"updated_at": _WRITTEN_AT, "revision": revision}
    return update(Task).where(*conditions).values(**values, **stamps).returning(*COLUMNS)


def _increment(live: int, condition: ColumnElement[bool]) -> ReturningUpdate[*tuple[Any, ...]]:
    """Return the UPDATE that, if `condition` is true, increments the user's revision and adds `live` to the live tasks.

    It returns `user_id` and `revision` (RETURNING), and no row if the condition is false.
    """
    counters = {"revision": models.User.revision + 1, "live_tasks": models.User.live_tasks + live}
    statement = update(models.User).where(models.User.user_id == OWNER, condition).values(**counters)
    return statement.returning(models.User.user_id, models.User.revision)


# One statement for every set of members. A statement for each set would be prepared on every connection.
_CHANGE = _Change(
    {
        **{name: case((sets, MEMBER_BINDS[name]), else_=Task.__table__.c[name]) for name, sets in _SETS.items()},
        "completed_at": case(
            (~_SETS["completed"], Task.completed_at),
            (MEMBER_BINDS["completed"], func.coalesce(Task.completed_at, _WRITTEN_AT)),
            else_=None,
        ),
    },
    or_(*(_SETS[name] & Task.__table__.c[name].is_distinct_from(MEMBER_BINDS[name]) for name in ("title", *DEFAULTS))),
    only_commit_if=or_(~_SETS["completed"], _IS_SINGLE),
)

_TOGGLE = _Change(
    {"completed": ~Task.completed, "completed_at": case((Task.completed, None), else_=_WRITTEN_AT)},
    only_commit_if=_IS_SINGLE,
)

_REMOVE = _Change({"deleted_at": _WRITTEN_AT}, live=-1)


def set_members(
    user: User, id: int, version: int | None, written_at: datetime, columns: Mapping[str, Any]
) -> TaskRow | None:
    """Increment the revision and set columns of a live task, if it has `version` (None: any) and a value differs.

    Returns the changed row, or None if no task matched or all values are equal: the caller rolls the increment back, or
    takes it back. Sets `completed_at`, too. `columns` has all of a group of `_COLUMN_GROUPS` or none. Runs in the
    caller's transaction. Raises `TaskNotFound` for a user without a row.
    """
    return _write(user, _CHANGE, id, version, written_at, **_bind_members(columns))


def set_members_and_commit(
    user: User, id: int, expected: Set[int] | None, written_at: datetime, columns: Mapping[str, Any]
) -> TaskRow | None:
    """Set columns as `set_members` does, and commit, in one round trip; return the row, or None if it is unchanged.

    None also, with `completed`, for a recurring task or one with a next task, and always inside another unit of work,
    on SQLite, and unless `expected` is one version or None (any). The caller then calls `set_members`, or finds why.
    """
    return _write_and_commit(user, _CHANGE, id, expected, written_at, **_bind_members(columns))


def _bind_members(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all bind parameters of `_CHANGE`, such that it sets only the columns in `columns`."""
    sets = {f"sets_{group}": names[0] in columns for group, names in _COLUMN_GROUPS.items()}
    return {**_UNCHANGED, **columns, **sets}


def toggle_completed(user: User, id: int, version: int | None, written_at: datetime) -> TaskRow | None:
    """Increment the revision; negate `completed` of a live task, if it has `version` (None: any).

    Returns the changed row, or None if no task matched: the caller rolls the revision back. Runs in the caller's
    transaction. Raises `TaskNotFound` for a user without a row.
    """
    return _write(user, _TOGGLE, id, version, written_at)


def toggle_and_commit(user: User, id: int, expected: Set[int] | None, written_at: datetime) -> TaskRow | None:
    """Negate `completed` of a live task, and commit, in one round trip; return the row, or None if it is unchanged.

    None also for a recurring task or one with a next task, and always inside another unit of work, on SQLite, and
    unless `expected` is one version or None (any): then call `toggle_completed`.
    """
    return _write_and_commit(user, _TOGGLE, id, expected, written_at)


def move_to_trash(user: User, id: int, version: int | None, written_at: datetime) -> TaskRow | None:
    """Increment the revision, subtract 1 from the live tasks, and set `deleted_at` of a live task.

    Sets it if the task has `version` (None: any). Returns the changed row, or None if no task matched: the caller rolls
    the counters back. Runs in the caller's transaction. Raises `TaskNotFound` for a user without a row.
    """
    return _write(user, _REMOVE, id, version, written_at)


def move_to_trash_and_commit(user: User, id: int, expected: Set[int] | None, written_at: datetime) -> TaskRow | None:
    """Move a live task to the trash, and commit, in one round trip; return the row, or None if nothing changed.

    None if the user has no row, if no live task has this id and a version of `expected` (None: any), and always, with
    nothing sent, unless `may_commit`. The caller then finds the reason, or calls `move_to_trash`. Raises
    `DatabaseUnavailable`.
    """
    return _write_and_commit(user, _REMOVE, id, expected, written_at)


def _write(
    user: User, change: _Change, id: int, version: int | None, written_at: datetime, **columns: Any
) -> TaskRow | None:
    """Send the increment of the counters and one UPDATE in one round trip; return the row, or None if none matched.

    The counters are changed in either case. Runs in the caller's transaction. Raises `TaskNotFound` for a user without
    a row.
    """
    counters, rows = fetch(*_bind(user, change, id, version, written_at, **columns))
    if not counters:
        raise TaskNotFound
    return rows[0] if rows else None


def _bind(
    user: User, change: _Change, id: int, version: int | None, written_at: datetime, **columns: Any
) -> tuple[BoundStatement, BoundStatement]:
    """Bind the increment of the counters and the UPDATE of a task, sent in this order; `columns` are further binds."""
    return (
        BUMP_REVISION(owner=user.id, by=1, ids=0, live=change.live),
        change.statement(**columns, owner=user.id, task=id, version=version, written_at=written_at),
    )


def _write_and_commit(
    user: User, change: _Change, id: int, expected: Set[int] | None, written_at: datetime, **columns: Any
) -> TaskRow | None:
    """Change a task that has a version of `expected` (None: any), and commit, in one round trip; None if unchanged.

    Always None unless `may_commit`: of several versions the current one has to be read first.
    """
    if not may_commit(expected):
        return None
    (version,) = (None,) if expected is None else expected
    statement = change.including_increment(**columns, owner=user.id, task=id, version=version, written_at=written_at)
    # The statement reads the task as of its start, before it waits for the user's row. Unless that row is locked first,
    # a task that another request deletes meanwhile would be counted twice.
    before: list[BoundStatement] = [LOCK_USER(owner=user.id)] if change.live else []
    *_, rows = fetch_and_commit(user, *before, statement)
    return rows[0] if rows else None


def may_commit(expected: Set[int] | None) -> bool:
    """Return True if the functions `…_and_commit` send a statement; otherwise they return None at once.

    It is so on PostgreSQL, outside of a unit of work, with one `expected` version or None (any).
    """
    return commits_in_one_round_trip() and (expected is None or len(expected) == 1)


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Set columns of a task, and its `revision`, which the caller has incremented; return the row.

    The task may be live, in the trash or a tombstone, unless `conditions` exclude it. None if no row has the id and
    meets them. Runs in the caller's transaction.
    """
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()


def bind_change(user: User, id: int, written_at: datetime, columns: Mapping[str, Any]) -> tuple[BoundStatement, ...]:
    """Bind the two statements of `set_members` for any version, for a caller that sends them together with others."""
    return _bind(user, _CHANGE, id, None, written_at, **_bind_members(columns))


def bind_removal(user: User, id: int, written_at: datetime) -> tuple[BoundStatement, ...]:
    """Bind the two statements of `move_to_trash` for any version, for a caller that sends them with others."""
    return _bind(user, _REMOVE, id, None, written_at)
