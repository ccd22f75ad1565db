"""The daily purge: remove trash, tombstones, idempotency keys and ended sessions whose time has passed.

After a release that folds text in another way it also folds again what older code has written (`tasks.refolding`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..auth import queries as sessions
from ..auth.tokens import User
from ..http.stack_traces import stack_trace
from ..idempotency import queries as idempotency
from ..tasks import purge as tasks
from ..tasks import refolding

R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PurgeStep:
    """The purge of one kind of expired data, user by user, each in transactions of its own.

    `users_due` finds the users with data to remove; `purge` returns a number for each name in `counted`.
    """

    counted: tuple[str, ...]
    users_due: Callable[[], Iterable[User]]
    purge: Callable[[User], tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """The numbers of what a purge removed or folded again, by name, and how many purges of users or steps failed."""

    removed: Counter[str]
    failures: int


PURGE_STEPS = (
    # Keys come first: the purge of tasks removes content from the stored responses as well, and fewer are left then.
    PurgeStep(("keys",), idempotency.users_due, lambda user: (idempotency.purge(user),)),
    PurgeStep(("emptied", "tombstones"), tasks.users_due, tasks.purge_user),
    PurgeStep(("erased",), tasks.erased_users_due, lambda user: (tasks.purge_erased(user),)),
    PurgeStep(("sessions",), sessions.users_due, lambda user: (sessions.purge(user),)),
    PurgeStep(("refolded",), refolding.users_due, lambda user: (refolding.check_user(user),)),
)
"""The steps of a purge, in order."""


def purge_all() -> Report:
    """Run every step; return what was removed and how many purges failed.

    A user or a step whose purge fails is logged and left for the next run; the others go on.
    """
    removed: Counter[str] = Counter()
    failures = sum(_run_step(step, removed) for step in PURGE_STEPS)
    return Report(removed, failures)


def _run_step(step: PurgeStep, removed: Counter[str]) -> int:
    """Purge every user with data to remove, and add the numbers of removed rows to `removed`, by name.

    Returns how many users failed, or 1 if the users could not be read.
    """
    what = " and ".join(step.counted)
    users = _attempt(step.users_due, f"find the users with {what} to remove")
    if users is None:
        return 1
    failures = 0
    for user in users:
        numbers = _attempt(partial(step.purge, user), f"purge the {what} of user {user.id!r}")
        if numbers is None:
            failures += 1
        else:
            removed.update(dict(zip(step.counted, numbers, strict=True)))
    return failures


def _attempt(action: Callable[[], R], purpose: str) -> R | None:
    """Return the result of an action; None if it raised, which is logged without the messages of exceptions."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  a failure of one user or step must not stop the purge of the others
        _log_failure(purpose, error)
        return None


def _log_failure(purpose: str, error: Exception) -> None:
    """Log `purpose`, what could not be done, and the stack trace, without the messages of exceptions."""
    log.error("cannot %s\n%s", purpose, stack_trace(error))
