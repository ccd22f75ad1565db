"""Purge of tasks: remove the content of the trash after 30 days, tombstones and counters of erased users after 90.

`users_due` and `erased_users_due` look across all users (row-level security job PURGE, read only). Data is removed user
by user, in transactions of up to `chunks.CHUNK` rows: none holds a lock for long.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import case, delete, func, select, update

from ..auth.tokens import User
from ..database import chunks
from ..database.base import now
from ..database.lists import is_one_of
from ..database.transactions import PURGE, execute, rows, writes
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
    """Return all users with tasks in the trash, or tombstones, that are old enough to purge.

    Reads the rows of all users, in a unit of work of its own (row-level security job PURGE).
    """
    at = now()
    has_old_trash = Task.purged_at.is_(None) & (Task.deleted_at <= at - TRASH_LIFETIME)
    has_old_tombstone = Task.deleted_at <= at - TOMBSTONE_LIFETIME
    due = select(Task.user_id).where(has_old_trash | has_old_tombstone).distinct()
    return [User(row.user_id) for row in rows(due, job=PURGE)]


def purge_user(user: User) -> tuple[int, int]:
    """Empty old tasks in the trash and remove old tombstones of a user; return the numbers of both.

    Emptying a task does not change the delta feed, which has its tombstone already; it increments the user's revision,
    the ETag of the lists. Removing tombstones raises `sync_floor` to their highest revision: older sync tokens get 410.
    Commits each chunk, and sleeps after it.
    """
    return chunks.in_chunks(_empty_trash, user), chunks.in_chunks(_remove_tombstones, user)


def oldest_due() -> tuple[datetime | None, ...]:
    """Return since when the oldest task in the trash, tombstone and erased user is due for purge; None if none is.

    Reads those of all users (job PURGE).
    """
    at = now()
    in_trash = case((Task.purged_at.is_(None) & (Task.deleted_at <= at - TRASH_LIFETIME), Task.deleted_at))
    tombstone = case((Task.deleted_at <= at - TOMBSTONE_LIFETIME, Task.deleted_at))
    oldest = select(func.min(in_trash).label("in_trash"), func.min(tombstone).label("tombstone")).where(
        Task.deleted_at <= at - TRASH_LIFETIME
    )
    deleted = rows(oldest, job=PURGE)[0]
    erasures = select(func.min(models.User.erased_at)).where(models.User.erased_at <= at - TOMBSTONE_LIFETIME)
    (erased,) = rows(erasures, job=PURGE)[0]
    return (
        deleted.in_trash and deleted.in_trash + TRASH_LIFETIME,
        deleted.tombstone and deleted.tombstone + TOMBSTONE_LIFETIME,
        erased and erased + TOMBSTONE_LIFETIME,
    )


@writes
def _empty_trash(user: User) -> int:
    """Turn up to `CHUNK` tasks that were in the trash for `TRASH_LIFETIME` into tombstones; return how many.

    If there are any, increments the revision, and removes the content of these tasks from stored responses, too. 0 as
    well if the user's row is gone. Joins the caller's transaction, if any; otherwise commits.
    """
    written_at = now()
    try:
        bump_revision(user)
    except TaskNotFound:
        return 0  # the user's row was removed meanwhile
    due = (Task.user_id == user.id, Task.purged_at.is_(None), Task.deleted_at <= written_at - TRASH_LIFETIME)
    ids = [row.id for row in execute(select(Task.id).where(*due).order_by(Task.id).limit(chunks.CHUNK))]
    if not ids:
        bump_revision(user, -1)
        return 0
    execute(
        update(Task).where(Task.user_id == user.id, is_one_of(Task.id, ids)).values(**TOMBSTONE, purged_at=written_at)
    )
    # Idempotency keys expire long before, except for a task that an import put into the trash with an old `deleted_at`.
    for task_id in idempotency.task_ids_with_content(user).intersection(ids):
        idempotency.delete_task_content(user, task_id)
    return len(ids)


@writes
def _remove_tombstones(user: User) -> int:
    """Delete the rows of up to `CHUNK` tasks that were deleted `TOMBSTONE_LIFETIME` ago or earlier; return how many.

    The lowest revisions come first; `sync_floor` is raised to the highest revision that is removed. 0 as well if the
    user's row is gone. Joins the caller's transaction, if any; otherwise commits.
    """
    try:
        bump_revision(user, 0)
    except TaskNotFound:
        return 0
    due = (Task.user_id == user.id, Task.deleted_at <= now() - TOMBSTONE_LIFETIME)
    ordered = select(Task.id, Task.revision).where(*due).order_by(Task.revision, Task.id)
    oldest = execute(ordered.limit(chunks.CHUNK)).all()
    if not oldest:
        return 0
    last = oldest[-1].revision
    floor = case((models.User.sync_floor < last, last), else_=models.User.sync_floor)
    execute(update(models.User).where(models.User.user_id == user.id).values(sync_floor=floor))
    execute(delete(Task).where(Task.user_id == user.id, is_one_of(Task.id, [row.id for row in oldest])))
    return len(oldest)


def erased_users_due() -> Iterable[User]:
    """Return all users who erased their data at least `TOMBSTONE_LIFETIME` ago.

    Reads the rows of all users, in a unit of work of its own (row-level security job PURGE).
    """
    due = select(models.User.user_id).where(models.User.erased_at <= now() - TOMBSTONE_LIFETIME)
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge_erased(user: User) -> int:
    """Remove the counters of a user who erased all data `TOMBSTONE_LIFETIME` ago or earlier; return 1, otherwise 0.

    Keeps them, no longer marked as erased, if the user has a row of a task again (trash and tombstones included).
    Before that time nothing changes. Joins the caller's transaction, if any; otherwise commits.
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
