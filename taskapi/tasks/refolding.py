"""Fold the stored text of tasks again, after a release has changed `folding.fold`, while the service runs.

The migration of that release calls `refold_all`. Code from before it may still run then, and folds what it writes in
the old way, so `flask purge` calls `check_user` once for each user, which does the same again. Neither changes a
version: no response has the folded text.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select, update

from ..auth.tokens import User
from ..database.transactions import PURGE, execute, reads, rows, writes
from . import models
from .folding import VERSION, search_columns
from .models import Task

CHUNK, PAUSE = 100, 0.02
"""Tasks whose text is read, and written, at a time, and seconds between two such transactions.

They are folded between the transactions: 100 long descriptions take 0.1 s, in which no lock may be held.
"""

ATTEMPTS = 5
"""How often a chunk is read again because other requests changed its tasks between two transactions."""

_REFOLD = (
    # Only if the text is still the one that was folded: another request, or the purge, may have replaced it.
    update(Task)
    .where(
        Task.user_id == bindparam("owner"),
        Task.id == bindparam("task"),
        Task.title == bindparam("title_read"),
        Task.description.is_not_distinct_from(bindparam("description_read")),
    )
    .values(folded_title=bindparam("new_title"), folded_description=bindparam("new_description"))
)


def refold_all() -> int:
    """Fold the text of all users' tasks again; return how many had another folded text.

    Commits and pauses by chunks of `CHUNK` tasks, user by user.
    """
    everyone = rows(select(models.User.user_id).order_by(models.User.user_id), job=PURGE)
    return sum(refold_user(User(row.user_id)) for row in everyone)


def users_due() -> Iterable[User]:
    """Return all users whose tasks `check_user` has not folded with this `VERSION` yet.

    Reads the rows of all users, in a unit of work of its own (row-level security job PURGE).
    """
    due = select(models.User.user_id).where(models.User.folding < VERSION)
    return [User(row.user_id) for row in rows(due, job=PURGE)]


def check_user(user: User) -> int:
    """Fold the text of a user's tasks again and mark the user as checked; return how many had another folded text.

    Commits and pauses by chunks of `CHUNK` tasks.
    """
    changed = refold_user(user)
    _mark_as_checked(user)
    return changed


def refold_user(user: User) -> int:
    """Fold the text of a user's tasks again; return how many had another folded text. Commits and pauses by chunks."""
    last_id: int | None = 0
    changed = 0
    while last_id is not None:
        last_id, count = _refold_chunk(user, last_id)
        changed += count
    return changed


def _refold_chunk(user: User, after: int) -> tuple[int | None, int]:
    """Fold the next `CHUNK` tasks after id `after` again; return (id of the last or None, number of tasks written).

    The id is None after all tasks. Commits a write and pauses; after it the chunk is read again, up to `ATTEMPTS` times
    in all: a task may have been changed in between.
    """
    written = 0
    for _ in range(ATTEMPTS):
        chunk = _read_chunk(user, after)
        outdated = [new for row in chunk if (new := _refolded(user, row))]
        if not outdated:
            break
        _write(user, outdated)
        written += len(outdated)
        time.sleep(PAUSE)
    return (chunk[-1].id if chunk else None), written


def _refolded(user: User, row: Any) -> Mapping[str, Any] | None:
    """Return the parameters of `_REFOLD` for a task; None if its folded text is up to date."""
    new = search_columns({"title": row.title, "description": row.description})
    if (row.folded_title, row.folded_description) == (new["folded_title"], new["folded_description"]):
        return None
    return {
        "owner": user.id,
        "task": row.id,
        "title_read": row.title,
        "description_read": row.description,
        "new_title": new["folded_title"],
        "new_description": new["folded_description"],
    }


@reads
def _read_chunk(user: User, after: int) -> Sequence[Any]:
    """Return the texts of the next `CHUNK` tasks after the id `after`, the trash included; tombstones have none."""
    columns = (Task.id, Task.title, Task.description, Task.folded_title, Task.folded_description)
    selected = (Task.user_id == user.id, Task.id > after, Task.purged_at.is_(None))
    return execute(select(*columns).where(*selected).order_by(Task.id).limit(CHUNK)).all()


@writes
def _write(_user: User, outdated: Sequence[Mapping[str, Any]]) -> None:
    """Write the folded text of the tasks whose text has not changed since it was read.

    Joins the caller's transaction, if any; otherwise commits.
    """
    execute(_REFOLD, outdated)


@writes
def _mark_as_checked(user: User) -> None:
    """Record that all tasks of a user are folded by this version of `fold`.

    Joins the caller's transaction, if any; otherwise commits.
    """
    execute(update(models.User).where(models.User.user_id == user.id).values(folding=VERSION))
