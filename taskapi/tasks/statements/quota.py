"""Quotas of a user: live tasks, tasks in the trash, and tombstones of the delta feed.

The quota of live tasks alone would not bound the stored rows: a user who adds and deletes tasks in turn fills the trash
for 30 days and the tombstones for 90. Counting those rows takes time, so they are counted at every `CHECK_EVERY`th new
id only, and after an import.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, delete, func, select, update

from ...auth.tokens import User
from ...database.transactions import execute, setting, writes
from .. import models
from ..models import Task
from .errors import QuotaExceeded

CHECK_EVERY = 500
"""New ids between two counts of the trash and the tombstones."""

TRASH_FACTOR = 2
"""Maximum number of tasks in the trash, as a multiple of `MAX_TASKS_PER_USER`."""

MAX_TOMBSTONES = 100_000
"""Maximum tombstones of a user. The oldest beyond are removed before their 90 days; older sync tokens then get 410."""


def check_quota(live_tasks: int) -> None:
    """Raise `QuotaExceeded` if `live_tasks` is above `MAX_TASKS_PER_USER`; call it in the transaction of the write."""
    quota: int = setting("MAX_TASKS_PER_USER")
    if live_tasks > quota:
        raise QuotaExceeded(quota)


def check_stored_tasks_after(user: User, new_id: int) -> None:
    """Call `check_stored_tasks` if `new_id` is a multiple of `CHECK_EVERY`. Raises `QuotaExceeded`."""
    if new_id % CHECK_EVERY == 0:
        check_stored_tasks(user)


@writes  # joins the transaction of the write that added the tasks
def check_stored_tasks(user: User) -> None:
    """Raise `QuotaExceeded` for more tasks in the trash than `TRASH_FACTOR` allows; limit the tombstones.

    The oldest beyond `MAX_TOMBSTONES` are removed: older sync tokens get 410. Joins the caller's transaction, if any.
    """
    is_tombstone = case((Task.purged_at.is_not(None), 1), else_=0)
    counts: Any = execute(
        select(func.count().label("deleted"), func.coalesce(func.sum(is_tombstone), 0).label("tombstones")).where(
            Task.user_id == user.id, Task.deleted_at.is_not(None)
        )
    ).one()
    max_in_trash = TRASH_FACTOR * setting("MAX_TASKS_PER_USER")
    if counts.deleted - counts.tombstones > max_in_trash:
        raise QuotaExceeded(max_in_trash, in_trash=True)
    if counts.tombstones > MAX_TOMBSTONES:
        _remove_oldest_tombstones(user)


def _remove_oldest_tombstones(user: User) -> None:
    """Remove the tombstones beyond the newest `MAX_TOMBSTONES`, and those of the same revision as one of them.

    There must be more than `MAX_TOMBSTONES`. Sets `sync_floor` to the last removed revision, unless it is higher.
    """
    tombstones = (Task.user_id == user.id, Task.purged_at.is_not(None))
    newest_first = select(Task.revision).where(*tombstones).order_by(Task.revision.desc())
    last_removed = execute(newest_first.offset(MAX_TOMBSTONES).limit(1)).scalar_one()
    execute(delete(Task).where(*tombstones, Task.revision <= last_removed))
    raised = case((models.User.sync_floor < last_removed, last_removed), else_=models.User.sync_floor)
    execute(update(models.User).where(models.User.user_id == user.id).values(sync_floor=raised))
