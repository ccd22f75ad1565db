"""Erase all data of a user."""

from __future__ import annotations

from sqlalchemy import delete, update

from ...auth.tokens import User
from ...database.base import now
from ...database.unit_of_work import execute, writes
from ...idempotency import queries as idempotency
from .. import models
from ..models import Task
from ..statements.counters import allocate_ids


@writes
def erase(user: User) -> None:
    """Delete everything of the user: tasks, trash, tombstones and idempotency keys.

    The counters stay and count on, so that no version and no id is given twice: an `If-Match` from before the erasure
    matches no task after it. A new epoch makes cursors and feed tokens from before invalid.
    """
    # Other writes of this user wait for the row of the counters, so it is there and locked from first to last: where
    # it was missing, a task could be added in between, and be deleted without its key.
    counters = allocate_ids(user, 0)
    execute(delete(Task).where(Task.user_id == user.id))
    idempotency.delete_all(user)
    mine = models.User.user_id == user.id
    if counters.revision == 1:  # the row was inserted just now: this user never wrote, and no version was ever given
        execute(delete(models.User).where(mine))
    else:
        values = {"live_tasks": 0, "epoch": models.new_epoch(), "erased_at": now()}
        execute(update(models.User).where(mine).values(values))
