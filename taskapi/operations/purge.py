"""The daily purge of all rooms: remove trash, tombstones, idempotency keys and ended sessions whose time has passed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..auth import queries as sessions
from ..auth.tokens import User
from ..http.errors import stack_trace
from ..idempotency import queries as idempotency
from ..tasks import purge as tasks

R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """The purge of one room, user by user, each in transactions of its own.

    `users_due` finds the users with data to remove; `purge` returns a number for each name in `counted`.
    """

    counted: tuple[str, ...]
    users_due: Callable[[], Iterable[User]]
    purge: Callable[[User], tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """The numbers of what a purge removed, by name, and how many purges of a user or of a room failed."""

    removed: Counter[str]
    failures: int


ROOMS = (
    # Keys come first: the purge of tasks removes content from the stored responses as well, and fewer are left then.
    Room(("keys",), idempotency.users_due, lambda user: (idempotency.purge(user),)),
    Room(("emptied", "tombstones"), tasks.users_due, tasks.purge_user),
    Room(("erased",), tasks.erased_users_due, lambda user: (tasks.purge_erased(user),)),
    Room(("sessions",), sessions.users_due, lambda user: (sessions.purge(user),)),
)
"""All rooms that store data with a lifetime, in the order in which they are purged."""


def purge_all() -> Report:
    """Purge every room. A user or a room whose purge fails is logged and left for the next run; the others go on."""
    removed: Counter[str] = Counter()
    failures = sum(_purge_room(room, removed) for room in ROOMS)
    return Report(removed, failures)


def _purge_room(room: Room, removed: Counter[str]) -> int:
    """Purge one room, add its numbers to `removed`, and return how many purges failed."""
    what = " and ".join(room.counted)
    users = _attempt(room.users_due, f"find the users with {what} to remove")
    if users is None:
        return 1
    failures = 0
    for user in users:
        numbers = _attempt(partial(room.purge, user), f"purge the {what} of user {user.id!r}")
        if numbers is None:
            failures += 1
        else:
            removed.update(dict(zip(room.counted, numbers, strict=True)))
    return failures


def _attempt(action: Callable[[], R], purpose: str) -> R | None:
    """Return the result of an action, or None if it raised, which is logged without the messages of exceptions."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  a failure of one user or room must not stop the purge of the others
        _log_failure(purpose, error)
        return None


def _log_failure(purpose: str, error: Exception) -> None:
    """Log what could not be done, and the stack trace."""
    log.error("cannot %s\n%s", purpose, stack_trace(error))
