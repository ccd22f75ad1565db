"""Statements on the user's row: its revision, the last task id and the number of live tasks.

Every write increments the revision first, or locks the user's row before that, so the writes of one user are serialized
and those of different users never block each other. What is read after that in the same transaction cannot change
before its end. A user without a row has no task either, even if another request inserts one meanwhile: `TaskNotFound`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, bindparam, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...auth.tokens import User
from ...database.base import db
from ...database.prepared import BoundStatement, Prepared
from ...database.transactions import fetch
from .. import models
from .errors import TaskNotFound
from .quota import check_quota
from .rows import OWNER

Counters = Any
"""A named tuple of a user's `revision`, `last_task_id` and `live_tasks`."""

_COUNTERS = (models.User.revision, models.User.last_task_id, models.User.live_tasks)

BUMP_REVISION = Prepared(
    update(models.User)
    .where(models.User.user_id == OWNER)
    .values(
        revision=models.User.revision + bindparam("by", type_=BigInteger),
        last_task_id=models.User.last_task_id + bindparam("ids", type_=BigInteger),
        live_tasks=models.User.live_tasks + bindparam("live", type_=BigInteger),
    )
    .returning(*_COUNTERS)
)
"""Add to the user's counters; binds `owner`, `by` (to the revision), `ids` and `live`. No row for a new user."""

LOCK_USER = Prepared(select(models.User.revision).where(models.User.user_id == OWNER).with_for_update())
"""Lock the user's row until the end of the transaction; binds `owner`. No row for a new user."""

_TASKS, _MIN_LAST_ID = bindparam("tasks", type_=BigInteger), bindparam("min_last_id", type_=BigInteger)

_ALLOCATE = {
    dialect.__name__.rpartition(".")[2]: Prepared(
        dialect.insert(models.User)
        .values(user_id=OWNER, epoch=bindparam("epoch"), revision=1, last_task_id=bindparam("first"), live_tasks=_TASKS)
        .on_conflict_do_update(
            index_elements=[models.User.user_id],
            set_={
                "revision": models.User.revision + 1,
                "last_task_id": case(
                    (models.User.last_task_id < _MIN_LAST_ID, _MIN_LAST_ID), else_=models.User.last_task_id
                )
                + _TASKS,
                "live_tasks": models.User.live_tasks + _TASKS,
            },
        )
        .returning(*_COUNTERS)
    )
    for dialect in (postgresql, sqlite)
}
"""By dialect: insert the user's row with the counters of the first tasks, or add to an existing row."""


def bump_revision(user: User, by: int = 1, *, ids: int = 0, live: int = 0) -> Counters:
    """Add `by` to the user's revision, `ids` to the last task id and `live` to the live tasks; return the counters.

    Runs in the caller's transaction, and locks the user's row until its end. `by` -1 takes an increment of that
    transaction back. Raises `TaskNotFound` for a user without a row, who has no task, and `QuotaExceeded` if `live` is
    positive and the live tasks exceed the quota.
    """
    (rows,) = fetch(BUMP_REVISION(owner=user.id, by=by, ids=ids, live=live))
    if not rows:
        raise TaskNotFound
    if live > 0:
        check_quota(rows[0].live_tasks)
    counters: Counters = rows[0]
    return counters


def allocate_ids(user: User, tasks: int = 1, *, last_task_id: int = 0) -> Counters:
    """Increment the revision, add `tasks` new ids to the last task id and to the live tasks; return the counters.

    The last new id is the `last_task_id` of the result; the first follows all earlier ids and the argument. Runs in the
    caller's transaction; inserts the user's row if it is missing, and locks it. Raises `QuotaExceeded` for too many
    live tasks, unless `tasks` is 0.
    """
    (rows,) = fetch(bind_allocation(user, tasks, last_task_id))
    if tasks:
        check_quota(rows[0].live_tasks)
    counters: Counters = rows[0]
    return counters


def bind_allocation(user: User, tasks: int, last_task_id: int = 0) -> BoundStatement:
    """Bind the statement of `allocate_ids`, for a caller that sends it together with others and checks the quota."""
    ids = {"min_last_id": last_task_id, "first": last_task_id + tasks}
    return _ALLOCATE[db.engine.dialect.name](owner=user.id, epoch=models.new_epoch(), tasks=tasks, **ids)
