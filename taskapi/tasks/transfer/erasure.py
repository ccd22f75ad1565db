"""Erase all data of a user, permanently."""

from __future__ import annotations

from sqlalchemy import delete, update

from ...auth.tokens import User
from ...database.base import now
from ...database.transactions import execute, writes
from ...idempotency import queries as idempotency
from .. import models
from ..models import Task
from ..statements.counters import allocate_ids


@writes
def erase(user: User) -> None:
    """Delete all tasks, trash, tombstones and idempotency keys of the user.

    Joins the caller's transaction, if any. The row of the counters stays for 90 days (`purge`), so that no version and
    no id is used twice: an `If-Match` from before the erasure matches no later task. A new epoch invalidates cursors
    and sync tokens. For a user who never wrote no row is left.
    """
    # Inserts the user's row if it is missing, and locks it until the end. Without a row, another request could add a
    # task between the two deletions, which then would be deleted while its idempotency key stays.
    counters = allocate_ids(user, 0)
    execute(delete(Task).where(Task.user_id == user.id))
    idempotency.delete_all(user)
    own_row = models.User.user_id == user.id
    if counters.revision == 1:  # inserted by allocate_ids: the user never wrote, so no version was ever used
        execute(delete(models.User).where(own_row))
    else:
        values = {"live_tasks": 0, "epoch": models.new_epoch(), "erased_at": now()}
        execute(update(models.User).where(own_row).values(values))
