"""Purge of tasks: remove the content of the trash after 30 days, tombstones and counters of erased users after 90.

`users_due` and `erased_users_due` look across all users (row-level security job PURGE, read only). Data is removed user
by user, each in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import case, delete, func, select, update

from ..auth.tokens import User
from ..database.base import now
from ..database.unit_of_work import PURGE, execute, rows, writes
from ..idempotency import queries as idempotency
from . import models
from .models import Task
from .statements.counters import bump_revision
from .statements.errors import TaskNotFound
from .statements.rows import TOMBSTONE

TRASH_LIFETIME = timedelta(days=30)
"""Time in the trash after which a task's content is removed."""

TOMBSTONE_LIFETIME = timedelta(days=90)
"""Time after a deletion, or an erasure, after which the row of the tombstone, or of the counters, is removed."""


def users_due() -> Iterable[User]:
    """Return the users who have trash or tombstones to remove."""
    moment = now()
    has_old_trash = Task.purged_at.is_(None) & (Task.deleted_at <= moment - TRASH_LIFETIME)
    has_old_tombstone = Task.deleted_at <= moment - TOMBSTONE_LIFETIME
    due = select(Task.user_id).where(has_old_trash | has_old_tombstone).distinct()
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge_user(user: User) -> tuple[int, int]:
    """Remove old trash and tombstones of a user; return the numbers of emptied tasks and of removed tombstones.

    Emptying a task does not change the delta feed, which has its tombstone already. Removing tombstones raises
    `sync_floor` to their highest revision: older sync tokens get 410. The ETag of the lists changes.
    """
    moment = now()
    try:
        bump_revision(user)
    except TaskNotFound:
        return 0, 0  # the user's row was removed meanwhile
    due = (Task.user_id == user.id, Task.purged_at.is_(None), Task.deleted_at <= moment - TRASH_LIFETIME)
    emptied = {
        row.id for row in execute(update(Task).where(*due).values(**TOMBSTONE, purged_at=moment).returning(Task.id))
    }
    # Idempotency keys expire long before, except for a task that an import put into the trash with an old `deleted_at`.
    for task_id in emptied & idempotency.task_ids_with_content(user):
        idempotency.delete_task_content(user, task_id)
    if not emptied:
        bump_revision(user, -1)
    return len(emptied), _remove_tombstones(user, moment - TOMBSTONE_LIFETIME)


def _remove_tombstones(user: User, before: datetime) -> int:
    """Remove tombstones of deletions up to `before`, raise `sync_floor`, and return how many were removed."""
    tombstones = (Task.user_id == user.id, Task.deleted_at <= before)
    last = execute(select(func.max(Task.revision)).where(*tombstones)).scalar()
    if last is None:
        return 0
    floor = case((models.User.sync_floor < last, last), else_=models.User.sync_floor)
    execute(update(models.User).where(models.User.user_id == user.id).values(sync_floor=floor))
    return execute(delete(Task).where(*tombstones)).rowcount


def erased_users_due() -> Iterable[User]:
    """Return the users who erased all data at least `TOMBSTONE_LIFETIME` ago."""
    due = select(models.User.user_id).where(models.User.erased_at <= now() - TOMBSTONE_LIFETIME)
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge_erased(user: User) -> int:
    """Remove the counters of a user who erased all data and has no task since; return how many rows were removed.

    The counters of a user who has tasks again are kept, and no longer marked as erased.
    """
    try:
        bump_revision(user, 0)
    except TaskNotFound:
        return 0  # removed meanwhile
    due = (models.User.user_id == user.id, models.User.erased_at <= now() - TOMBSTONE_LIFETIME)
    if execute(select(Task.id).where(Task.user_id == user.id).limit(1)).first() is None:
        return execute(delete(models.User).where(*due)).rowcount
    execute(update(models.User).where(*due).values(erased_at=None))
    return 0
