"""Run work on SQLite: retry on SQLITE_BUSY, and run again in native threads when a statement takes too long.

One lane per kind of work limits how much of it runs at a time in a worker (concurrency/lanes.py).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from random import uniform
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from ..concurrency import slots
from ..concurrency.lanes import Lane
from .sqlite import LONG_READS, has_threads
from .sqlite_errors import MIN_PAUSE, is_busy, is_interrupted, retry_busy

R = TypeVar("R")

WRITER, LONG_READER, SYSTEM_READER = Lane(1), Lane(LONG_READS), Lane(1)
"""SQLite has one writer at a time. `SYSTEM_READER` is for reads about no user, such as the list of ended sessions: they
do not wait behind the long reads of users."""

LONG_WRITE, MAX_REST = 0.05, 1.0
"""A user whose write held SQLite's write lock for more than `LONG_WRITE` seconds begins the next one only after as many
seconds as that, at most `MAX_REST`.

A worker cannot queue behind another one: it tries to get the lock every few milliseconds. Without the rest, the long
writes of a user would follow each other so closely that the writers of another worker hardly ever find the lock free.
"""


def run_in_lane(attempt: Callable[[bool], R], lane: Lane, owner: str, timeout: float) -> R:
    """Return `attempt(in_threads)`; call it again if it met a lock, or in threads if it exceeded `INLINE_LIMIT`.

    `attempt` must have no effect when it raises. A write holds `WRITER` during its attempts; a read enters `lane` only
    if its first attempt fails. A request that waits releases its slot (not for `SYSTEM_READER`) and has no connection.
    The users (`owner`) of a lane are served in turn. Raises SQLITE_BUSY or `LaneTimeout` after about `timeout` seconds
    of waiting, `LaneTimeout` at once if too many requests wait, and other errors of `attempt`.
    """
    in_threads, timed = False, _Timed(attempt)
    if lane is not WRITER or lane.acquire_now(owner):
        try:
            return timed(in_threads)
        except (sqlite3.Error, DBAPIError) as error:
            in_threads = _needs_threads(error)
            if not in_threads and not is_busy(error):
                raise
        finally:
            if lane is WRITER:
                lane.release(owner, rest=timed.rest)
        if in_threads:
            # The slot is still held, so no more requests than there are slots make this first attempt between two polls
            # of gevent's sockets.
            time.sleep(MIN_PAUSE)
    # Randomized: requests that began to wait together would otherwise all time out, and respond, in the same moment.
    deadline = time.monotonic() + timeout * uniform(0.9, 1)  # noqa: S311
    if lane is SYSTEM_READER:  # keeps its slot: its caller may hold a lock that holders of slots wait for
        with lane.held(deadline, owner):
            return _attempt_until(deadline, timed, in_threads=in_threads)
    with slots.released():
        lane.acquire(deadline, owner)
        try:
            # Lets the gevent hub poll its sockets first: it runs up to 50 ready requests between two polls.
            time.sleep(0.1 * MIN_PAUSE)
            return _attempt_until(deadline, timed, in_threads=in_threads)
        finally:
            lane.release(owner, rest=timed.rest if lane is WRITER else 0)


class _Timed(Generic[R]):
    """Calls a function and measures the duration of its last call."""

    def __init__(self, call: Callable[[bool], R]) -> None:
        self._call = call
        self._seconds = 0.0

    @property
    def rest(self) -> float:
        """Seconds that the user must rest after the last call, if it was a write: its duration, at most `MAX_REST`.

        0 if it took up to `LONG_WRITE` seconds.
        """
        return min(self._seconds, MAX_REST) if self._seconds > LONG_WRITE else 0

    def __call__(self, in_threads: bool) -> R:  # noqa: FBT001
        """Return the result of the function, and store how long the call took, even if it raises."""
        started = time.monotonic()
        try:
            return self._call(in_threads)
        finally:
            self._seconds = time.monotonic() - started


def _attempt_until(deadline: float, attempt: Callable[[bool], R], *, in_threads: bool) -> R:
    """Return `attempt(in_threads)`; call it again on SQLITE_BUSY, which is raised at `deadline` (time.monotonic).

    If a statement exceeds `INLINE_LIMIT`, the attempts from then on are in native threads. Other errors are raised.
    """
    try:
        return retry_busy(partial(attempt, in_threads), deadline)
    except (sqlite3.Error, DBAPIError) as error:
        if in_threads or not _needs_threads(error):
            raise
    return retry_busy(partial(attempt, True), deadline)


def _needs_threads(error: BaseException) -> bool:
    """Return True if a statement exceeded `INLINE_LIMIT` and this process has native threads to run it in."""
    return has_threads() and is_interrupted(error)
