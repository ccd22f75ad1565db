"""The counters of a user."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    bindparam,
    case,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ...auth.tokens import User
from ...database.base import db
from ...database.prepared import BoundStatement, Prepared
from ...database.unit_of_work import fetch
from .. import models
from .errors import TaskNotFound
from .quota import check_quota
from .rows import OWNER

Counters = Any
"""A named tuple of a user's revision, the id given last, and how many tasks are live."""


_COUNTERS = (models.User.revision, models.User.last_task_id, models.User.live_tasks)


_TASKS, _FLOOR = bindparam("tasks", type_=BigInteger), bindparam("floor", type_=BigInteger)


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


_ALLOCATE = {
    dialect.__name__.rpartition(".")[2]: Prepared(
        dialect.insert(models.User)
        .values(user_id=OWNER, epoch=bindparam("epoch"), revision=1, last_task_id=bindparam("first"), live_tasks=_TASKS)
        .on_conflict_do_update(
            index_elements=[models.User.user_id],
            set_={
                "revision": models.User.revision + 1,
                "last_task_id": case((models.User.last_task_id < _FLOOR, _FLOOR), else_=models.User.last_task_id)
                + _TASKS,
                "live_tasks": models.User.live_tasks + _TASKS,
            },
        )
        .returning(*_COUNTERS)
    )
    for dialect in (postgresql, sqlite)
}


def bump_revision(user: User, by: int = 1, *, ids: int = 0, live: int = 0) -> Counters:
    """Count the user's revision, and with it ids given and live tasks; this locks the user's row.

    Raises `TaskNotFound` for a user who never wrote, and so has no task, and `QuotaExceeded`.
    """
    (found,) = fetch(BUMP_REVISION(owner=user.id, by=by, ids=ids, live=live))
    if not found:
        raise TaskNotFound
    if live > 0:
        check_quota(found[0].live_tasks)
    counters: Counters = found[0]
    return counters


def allocate_ids(user: User, tasks: int = 1, *, last_task_id: int = 0) -> Counters:
    """Count up for new tasks, making the user's row if it is not there.

    `last_task_id` is what the ids have come to at least, before those of these tasks. Raises `QuotaExceeded`.
    """
    (found,) = fetch(bind_allocation(user, tasks, last_task_id))
    if tasks:
        check_quota(found[0].live_tasks)
    counters: Counters = found[0]
    return counters


def bind_allocation(user: User, tasks: int, last_task_id: int = 0) -> BoundStatement:
    ids = {"floor": last_task_id, "first": last_task_id + tasks}
    return _ALLOCATE[db.engine.dialect.name](owner=user.id, epoch=models.new_epoch(), tasks=tasks, **ids)
