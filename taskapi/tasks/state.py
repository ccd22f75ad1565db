"""The state of a user's data: the revision, which versions the whole list, and the epoch, which signs cursors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import select

from ..auth.tokens import User
from ..database.prepared import Prepared, Rows
from ..database.transactions import fetch, reads
from . import models
from .statements.rows import OWNER


@dataclass(frozen=True)
class State:
    """The counters of a user that versions, cursors and sync tokens are made of.

    `revision` grows by one with every write. `epoch` is a secret that an erasure replaces. Sync tokens of a revision
    below `sync_floor` are expired, because tombstones up to it are removed.
    """

    revision: int
    epoch: str
    sync_floor: int = 0

    @property
    def epoch_id(self) -> str:
        """Public identifier of the epoch: the first 8 hex digits of its SHA-256."""
        return _epoch_id(self.epoch)

    @property
    def etag(self) -> str:
        """ETag of all the user's data: revision and epoch id in quotes; `"0.0"` before the first write.

        The epoch id keeps it unique when a purged user's revision restarts at 1.
        """
        return f'"{self.revision}.{self.epoch_id if self.revision else 0}"'


@lru_cache(maxsize=4096)
def _epoch_id(epoch: str) -> str:
    """Return the public identifier of an epoch, the first 8 hex digits of its SHA-256; cached."""
    return hashlib.sha256(epoch.encode()).hexdigest()[:8]


SELECT_STATE = Prepared(
    select(models.User.revision, models.User.epoch, models.User.sync_floor).where(models.User.user_id == OWNER)
)
"""The statement that `state_of` reads the rows of; binds `owner`."""


@reads
def read_state(user: User) -> State:
    """Return the user's state, one row by primary key; without a row, one of revision 0 with a new random epoch."""
    (rows,) = fetch(SELECT_STATE(owner=user.id))
    return state_of(rows)


_COUNT_TASKS = Prepared(select(models.User.live_tasks).where(models.User.user_id == OWNER))


@reads
def count_tasks(user: User) -> int:
    """Return the number of the user's live tasks from the counter in the user's row; 0 without a row."""
    (rows,) = fetch(_COUNT_TASKS(owner=user.id))
    return rows[0].live_tasks if rows else 0


def state_of(rows: Rows) -> State:
    """Return the `State` in the rows of `SELECT_STATE`; without a row, one of revision 0 with a new random epoch."""
    # A user without a row gets a new random epoch each time: no cursor was ever signed with it, and none can be forged.
    return State(*rows[0]) if rows else State(0, models.new_epoch())


def last_state(user: User) -> State | None:
    """Return the user's state as this worker last knew it (`cache_state`); None if it is not cached.

    It may be outdated, so the caller must check it: a cursor whose signature matches confirms the epoch, nothing else.
    """
    return next(iter(_last_state(user.id)), None)


def cache_state(user: User, state: State) -> None:
    """Store the user's state, which was read with a page, for `last_state`."""
    _last_state(user.id)[:] = [state]


def cache_revision(user: User, revision: int) -> None:
    """Set the revision in the user's cached state after a write of this worker; do nothing if no state is cached.

    Nor for a lower revision: a write without effect returns the task's version. The transaction of the write may still
    be rolled back: the cached state is a hint.
    """
    cached = _last_state(user.id)
    if cached and revision > cached[0].revision:
        cached[0] = State(revision, cached[0].epoch, cached[0].sync_floor)


@lru_cache(maxsize=4096)
def _last_state(_user_id: str) -> list[State]:
    """Return the user's slot in the cache of states: an empty list, or a list of one state.

    `lru_cache` serves as a bounded store per user. The state may be outdated, or of another database in tests.
    """
    return []
