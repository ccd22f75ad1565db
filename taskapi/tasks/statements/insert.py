"""INSERT of one new task, sent in one round trip with the statement that allocates its id.

As in `update`, there are two ways: `insert_next` leaves the commit to its unit of work, `insert_and_commit` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from ...auth.tokens import User
from ...database.base import db
from ...database.prepared import BoundStatement, Prepared
from ...database.transactions import commits_in_one_round_trip, fetch, fetch_and_commit, setting
from .. import models, positions
from ..models import Task
from ..recurrence import schedule
from . import quota
from .counters import bind_allocation
from .quota import check_quota
from .rows import COLUMNS, MEMBER_BINDS, OWNER, TaskRow, task_columns


def _insert_from(counters: Any, dialect: Any = postgresql) -> Any:
    """Return INSERT … SELECT of a task whose id and revision are the counters in the table or CTE `counters`.

    It binds `owner` and `MEMBER_BINDS`, returns `COLUMNS`, and inserts nothing if `counters` has no row of the owner.
    """
    # No row has the id that was just allocated. Without ON CONFLICT, Citus (13.2) fails on INSERT … SELECT … RETURNING:
    # "missing FROM-clause entry".
    columns = {
        "user_id": counters.c.user_id,
        "id": counters.c.last_task_id,
        "revision": counters.c.revision,
        "created_revision": counters.c.revision,
        "position": positions.initial_position_sql(counters.c.last_task_id),
    }
    selected = select(*columns.values(), *MEMBER_BINDS.values()).where(counters.c.user_id == OWNER)
    statement = dialect.insert(Task).from_select([*columns, *MEMBER_BINDS], selected)
    return statement.on_conflict_do_nothing().returning(*COLUMNS)


# The statement before it has updated and locked the user's row.
_INSERT_NEXT = {
    dialect.__name__.rpartition(".")[2]: Prepared(_insert_from(models.User.__table__, dialect))
    for dialect in (postgresql, sqlite)
}

# Without a row of `counters` no task is inserted.
_INSERT_WITHIN_QUOTA = Prepared(
    _insert_from(
        postgresql.insert(models.User)
        .values(user_id=OWNER, epoch=bindparam("epoch"), revision=1, last_task_id=1, live_tasks=1)
        .on_conflict_do_update(
            index_elements=[models.User.user_id],
            set_={
                "revision": models.User.revision + 1,
                "last_task_id": models.User.last_task_id + 1,
                "live_tasks": models.User.live_tasks + 1,
            },
            where=(models.User.user_id == OWNER)
            & (models.User.live_tasks < bindparam("quota", type_=Integer))
            & ((models.User.last_task_id + 1) % bindparam("check_every", type_=Integer) != 0),
        )
        .returning(models.User.user_id, models.User.last_task_id, models.User.revision)
        .cte("counters")
    )
)


def insert_next(user: User, written_at: datetime, values: Mapping[str, Any]) -> TaskRow:
    """Insert a task with the next id and revision, and return it; `values` are the members of the request.

    Runs in the caller's transaction; inserts the user's row if it is missing, and locks it. Raises `QuotaExceeded` for
    too many live tasks, and ValidationError as `_columns` does. The caller calls `check_stored_tasks_after`.
    """
    (counters,), (row,) = fetch(*bind_insert(user, written_at, values))
    check_quota(counters.live_tasks)
    return row


def insert_and_commit(user: User, written_at: datetime, values: Mapping[str, Any]) -> TaskRow | None:
    """Insert a task as `insert_next` does, commit, and return it, in one round trip; None if nothing was inserted.

    Inserts nothing inside another unit of work, on SQLite, at the quota, and for every `CHECK_EVERY`th id: then call
    `insert_next`. Raises ValidationError as `_columns` does.
    """
    if not commits_in_one_round_trip():
        return None
    limits = {"quota": setting("MAX_TASKS_PER_USER"), "check_every": quota.CHECK_EVERY}
    insertion = _INSERT_WITHIN_QUOTA(owner=user.id, epoch=models.new_epoch(), **limits, **_columns(written_at, values))
    (rows,) = fetch_and_commit(user, insertion)
    return rows[0] if rows else None


def _columns(written_at: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a new task that do not depend on its id (`task_columns`).

    Raises ValidationError for members about time that contradict each other, and for a rule without a next date.
    """
    columns = task_columns(written_at, values)
    schedule.check_next_occurrence(columns)
    return columns


def bind_insert(user: User, written_at: datetime, values: Mapping[str, Any]) -> tuple[BoundStatement, BoundStatement]:
    """Bind the two statements of `insert_next`, for a caller that sends them together with others: counters, task.

    The caller checks the quota. Raises ValidationError as `_columns` does.
    """
    insertion = _INSERT_NEXT[db.engine.dialect.name]
    return bind_allocation(user, 1), insertion(owner=user.id, **_columns(written_at, values))
