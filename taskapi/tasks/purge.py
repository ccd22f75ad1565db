"""What is forgotten in time: content 30 days after it was deleted; tombstones and erased users' counters after 90.

The only statements here that are about no user find out whose data is due; the work is then done user by user.
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
TOMBSTONE_LIFETIME = timedelta(days=90)


def users_due() -> Iterable[User]:
    """Whose data holds something to forget."""
    moment = now()
    emptied = Task.purged_at.is_(None) & (Task.deleted_at <= moment - TRASH_LIFETIME)
    forgotten = Task.deleted_at <= moment - TOMBSTONE_LIFETIME
    due = select(Task.user_id).where(emptied | forgotten).distinct()
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge_user(user: User) -> tuple[int, int]:
    """Forget what is due: how many tasks lost their content, and how many tombstones are gone.

    For the feed nothing changes with the content: it was told of the deletion. With the tombstones it loses its
    memory up to their revision, and says so (410) to whoever asks from before. The lists' ETag does change.
    """
    moment = now()
    try:
        bump_revision(user)
    except TaskNotFound:
        return 0, 0  # erased meanwhile
    mine = Task.user_id == user.id
    due = (mine, Task.purged_at.is_(None), Task.deleted_at <= moment - TRASH_LIFETIME)
    emptied = {
        row.id for row in execute(update(Task).where(*due).values(**TOMBSTONE, purged_at=moment).returning(Task.id))
    }
    # A key is forgotten long before; but an import can say of a task that it has been in the trash for weeks.
    for task_id in emptied & idempotency.tasks_with_content(user):
        idempotency.forget_content(user, task_id)
    if not emptied:
        bump_revision(user, -1)
    return len(emptied), _remove_tombstones(user, moment - TOMBSTONE_LIFETIME)


def _remove_tombstones(user: User, before: datetime) -> int:
    gone = (Task.user_id == user.id, Task.deleted_at <= before)
    last = execute(select(func.max(Task.revision)).where(*gone)).scalar()
    if last is None:
        return 0
    floor = case((models.User.sync_floor < last, last), else_=models.User.sync_floor)
    execute(update(models.User).where(models.User.user_id == user.id).values(sync_floor=floor))
    return execute(delete(Task).where(*gone)).rowcount


def erased_users_due() -> Iterable[User]:
    """Who erased everything so long ago that no client can still hold a version of it."""
    due = select(models.User.user_id).where(models.User.erased_at <= now() - TOMBSTONE_LIFETIME)
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge_erased(user: User) -> int:
    """Remove the counters of a user who erased everything and has written nothing since; how many were removed.

    The counters of a user who came back are kept from then on, as those of any other.
    """
    try:
        bump_revision(user, 0)
    except TaskNotFound:
        return 0  # removed meanwhile
    mine = models.User.user_id == user.id
    due = (mine, models.User.erased_at <= now() - TOMBSTONE_LIFETIME)
    if execute(select(Task.id).where(Task.user_id == user.id).limit(1)).first() is None:
        return execute(delete(models.User).where(*due)).rowcount
    execute(update(models.User).where(*due).values(erased_at=None))
    return 0
