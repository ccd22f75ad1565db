"""Quotas of a user: live tasks, tasks in the trash, and tombstones of the delta feed.

The quota counts live tasks only, so adding and deleting in turn would store rows without a bound, for 30 and 90 days.
Counting them takes time, so that is done once for `CHECK_EVERY` ids: rows are added with new ids or by an import.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, delete, func, select, update

from ...auth.tokens import User
from ...database.unit_of_work import execute, setting, writes
from .. import models
from ..models import Task
from .errors import QuotaExceeded

CHECK_EVERY = 500
"""Ids between two counts."""

TRASH_FACTOR = 2
"""The trash may hold this many times as many tasks as `MAX_TASKS_PER_USER` allows outside of it."""

MAX_TOMBSTONES = 100_000
"""Tombstones of a user. Beyond, the oldest are removed before their 90 days; older feed tokens then get 410."""


def check_quota(live_tasks: int) -> None:
    """Raise `QuotaExceeded`, which rolls the write back, for more live tasks than `MAX_TASKS_PER_USER`."""
    quota: int = setting("MAX_TASKS_PER_USER")
    if live_tasks > quota:
        raise QuotaExceeded(quota)


def check_stored_tasks_after(user: User, new_id: int) -> None:
    """Check the bounds if this new id is one of those at which they are checked. Raises `QuotaExceeded`."""
    if new_id % CHECK_EVERY == 0:
        check_stored_tasks(user)


@writes  # part of the write that added the tasks
def check_stored_tasks(user: User) -> None:
    """Raise `QuotaExceeded` if the trash holds too many tasks, and remove the oldest of too many tombstones."""
    mine = Task.user_id == user.id
    emptied = case((Task.purged_at.is_not(None), 1), else_=0)
    counts = select(func.count(), func.coalesce(func.sum(emptied), 0)).where(mine, Task.deleted_at.is_not(None))
    found: Any = execute(counts).one()
    deleted, tombstones = found
    most = TRASH_FACTOR * setting("MAX_TASKS_PER_USER")
    if deleted - tombstones > most:
        raise QuotaExceeded(most, in_trash=True)
    if tombstones > MAX_TOMBSTONES:
        _remove_oldest_tombstones(user)


def _remove_oldest_tombstones(user: User) -> None:
    tombstones = (Task.user_id == user.id, Task.purged_at.is_not(None))
    newest_first = select(Task.revision).where(*tombstones).order_by(Task.revision.desc())
    last = execute(newest_first.offset(MAX_TOMBSTONES).limit(1)).scalar_one()
    execute(delete(Task).where(*tombstones, Task.revision <= last))
    floor = case((models.User.sync_floor < last, last), else_=models.User.sync_floor)
    execute(update(models.User).where(models.User.user_id == user.id).values(sync_floor=floor))
