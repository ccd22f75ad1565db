"""The daily purge of all rooms: remove trash, tombstones, idempotency keys and ended sessions whose time has passed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..auth import queries as sessions
from ..auth.tokens import User
from ..idempotency import queries as idempotency
from ..tasks import purge as tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """The purge of one room, user by user, each in a transaction of its own.

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
    try:
        users = room.users_due()
    except Exception:
        log.exception("cannot find the users whose %s are due", what)
        return 1
    return sum(not _purge_user(room, user, removed, what) for user in users)


def _purge_user(room: Room, user: User, removed: Counter[str], what: str) -> bool:
    """Purge one user in one room and add its numbers to `removed`; returns False if that failed, which is logged."""
    try:
        numbers = room.purge(user)
    except Exception:
        log.exception("cannot purge the %s of user %r", what, user.id)
        return False
    removed.update(dict(zip(room.counted, numbers, strict=True)))
    return True
