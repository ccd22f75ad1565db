"""Deleting, in two steps: into the trash, from where a task can come back, and out of it for good."""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import ColumnElement, func, literal, select

from ...auth.tokens import User
from ...database.base import UTCDateTime, now
from ...database.unit_of_work import execute, reads, writes
from ...idempotency import queries as idempotency
from .. import queries
from ..models import Task
from ..statements.counters import bump_revision
from ..statements.errors import TaskNotFound, VersionConflict
from ..statements.rows import COLUMNS, TOMBSTONE, TaskRow
from ..statements.update import move_to_trash, update_task


@writes
def remove(user: User, id: int, expected: Set[int] | None) -> None:
    """Put a task into the trash. Raises `TaskNotFound` and `VersionConflict`."""
    if move_to_trash(user, id, queries.resolve_if_match(user, id, expected), now()) is None:
        queries.find(user, id, expected)  # says what stands in the way


@writes
def restore(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Take a task out of the trash; one that is not in it stays as it is.

    Raises `TaskNotFound`, `VersionConflict` and `QuotaExceeded`.
    """
    revision = bump_revision(user).revision
    columns = {"deleted_at": None, "updated_at": now()}
    row = update_task(user, id, revision, columns, *_IN_TRASH, *_of_version(user, id, expected))
    if row is None:
        row = find(user, id, expected)
        bump_revision(user, -1)  # it is there already
        return row
    # Last, so that the quota stands in nobody's way whose task is not in the trash, or not of that version.
    bump_revision(user, 0, live=1)
    return row


@writes
def destroy(user: User, id: int, expected: Set[int] | None) -> None:
    """Delete a task permanently, in the trash or not; a tombstone stays for the feed.

    Raises `TaskNotFound` and `VersionConflict`.
    """
    moment = now()
    revision = bump_revision(user).revision
    if find(user, id, expected).deleted_at is None:
        bump_revision(user, 0, live=-1)
    deleted_at = func.coalesce(Task.deleted_at, literal(moment, UTCDateTime))
    update_task(user, id, revision, {**TOMBSTONE, "deleted_at": deleted_at, "purged_at": moment, "updated_at": moment})
    idempotency.forget_content(user, id)


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """The task of this id, in the trash or not. Raises `TaskNotFound` and `VersionConflict`."""
    there = (Task.user_id == user.id, Task.id == id, Task.purged_at.is_(None))
    row = execute(select(*COLUMNS).where(*there)).one_or_none()
    if row is None:
        raise TaskNotFound
    if expected is not None and row.revision not in expected:
        raise VersionConflict(row)
    return row


_IN_TRASH = (Task.deleted_at.is_not(None), Task.purged_at.is_(None))


def _of_version(user: User, id: int, expected: Set[int] | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that a task has the version it is expected to have. Raises `TaskNotFound` and `VersionConflict`.

    Of several it is the one that the task has, which cannot change before the end of the transaction: the text of the
    statement must not depend on how many versions a client sends.
    """
    if expected is None:
        return ()
    (version,) = expected if len(expected) == 1 else {find(user, id, expected).revision}
    return (Task.revision == version,)
