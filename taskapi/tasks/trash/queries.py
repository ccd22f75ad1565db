"""Delete tasks in two steps: into the trash, from which a task can be restored, and permanently to a tombstone."""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import ColumnElement, func, literal, select

from ...auth.tokens import User
from ...database.base import UTCDateTime, now
from ...database.transactions import execute, reads, writes
from ...idempotency import queries as idempotency
from .. import queries
from ..models import Task
from ..statements.counters import bump_revision
from ..statements.errors import TaskNotFound, VersionConflict
from ..statements.rows import COLUMNS, TOMBSTONE, TaskRow
from ..statements.update import may_commit, move_to_trash, move_to_trash_and_commit, update_task


def remove(user: User, id: int, expected: Set[int] | None) -> None:
    """Move a live task to the trash, if it has a version of `expected` (None: any).

    Joins the caller's transaction, if any; otherwise commits, on PostgreSQL in one round trip. Raises `TaskNotFound`,
    also for a task in the trash, `VersionConflict` and `DatabaseUnavailable`.
    """
    if move_to_trash_and_commit(user, id, expected, now()) is None:
        if may_commit(expected):
            queries.find(user, id, expected)  # raises the reason without a lock, unless that has changed meanwhile
        _remove(user, id, expected)


@writes
def _remove(user: User, id: int, expected: Set[int] | None) -> None:
    """Move a live task to the trash in the caller's transaction, or in one of its own, with the user's row locked.

    Raises `TaskNotFound` and `VersionConflict` as `remove` does, which roll the counters back.
    """
    if move_to_trash(user, id, queries.resolve_if_match(user, id, expected), now()) is None:
        queries.find(user, id, expected)  # raises TaskNotFound or VersionConflict


@writes
def restore(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Restore a task from the trash and return it; a live task is returned unchanged, with its version.

    Joins the caller's transaction, if any; otherwise commits. `expected` are the versions that the task may have (None:
    any). Raises `TaskNotFound`, also for a tombstone, `VersionConflict` and `QuotaExceeded`.
    """
    revision = bump_revision(user).revision
    columns = {"deleted_at": None, "updated_at": now()}
    row = update_task(user, id, revision, columns, *_IN_TRASH, *_matches_version(user, id, expected))
    if row is None:
        row = find(user, id, expected)
        bump_revision(user, -1)  # the task is live already: undo the increment
        return row
    # Checked last, so that 404 and 412 precede the 409 of the quota, and a live task is never rejected.
    bump_revision(user, 0, live=1)
    return row


@writes
def destroy(user: User, id: int, expected: Set[int] | None) -> None:
    """Delete a task, live or in the trash, permanently: a tombstone without content stays for the delta feed.

    Removes the task's content from stored responses, too. Joins the caller's transaction, if any; otherwise commits.
    `expected` are the versions that the task may have (None: any). Raises `TaskNotFound` and `VersionConflict`.
    """
    written_at = now()
    revision = bump_revision(user).revision
    if find(user, id, expected).deleted_at is None:
        bump_revision(user, 0, live=-1)
    deleted_at = func.coalesce(Task.deleted_at, literal(written_at, UTCDateTime))
    update_task(
        user, id, revision, {**TOMBSTONE, "deleted_at": deleted_at, "purged_at": written_at, "updated_at": written_at}
    )
    idempotency.delete_task_content(user, id)


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """Return the task with this id, live or in the trash, if it has a version of `expected` (None: any).

    Raises `TaskNotFound`, also for a tombstone, and `VersionConflict`.
    """
    stored = (Task.user_id == user.id, Task.id == id, Task.purged_at.is_(None))
    row = execute(select(*COLUMNS).where(*stored)).one_or_none()
    if row is None:
        raise TaskNotFound
    if expected is not None and row.revision not in expected:
        raise VersionConflict(row)
    return row


_IN_TRASH = (Task.deleted_at.is_not(None), Task.purged_at.is_(None))


def _matches_version(user: User, id: int, expected: Set[int] | None) -> tuple[ColumnElement[bool], ...]:
    """Return the SQL conditions that the task has a version of `expected`; () for None (any).

    The caller must have locked the user's row, so that the task cannot change. One version is compared in SQL. For
    several, or an empty set, reads the task and returns the condition of the version read, whose text is the same for
    any number; only this raises `TaskNotFound` and `VersionConflict`.
    """
    if expected is None:
        return ()
    (version,) = expected if len(expected) == 1 else {find(user, id, expected).revision}
    return (Task.revision == version,)
