"""Limit how many pieces of work of one kind run at a time in a process; the next ones wait in FIFO order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAITING = 100
"""Requests that wait for a lane; each holds its body in memory. One more is refused at once."""

MAX_WAITING_OF_USER = 50
"""Requests of one user that wait for a lane."""


class LaneTimeout(Exception):
    """No place became free in time, or too many wait already."""


class Lane:
    """A semaphore whose places are handed over in the order in which they were waited for.

    Among those who name an `owner`, each holds one place at most: others pass them in the queue.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._mutex = threading.Lock()
        self._queue: list[tuple[threading.Lock, str | None, str]] = []
        self._owners: set[str | None] = set()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    def acquire_now(self, owner: str | None = None) -> bool:
        """Take a place if one is free for this owner."""
        with self._mutex:
            return self._take(owner)

    def release(self, owner: str | None = None) -> None:
        """Give a place back, or hand it over to the first in the queue that may have it."""
        with self._mutex:
            self._free += 1
            self._owners.discard(owner)
            for waiting in self._queue:
                if self._take(waiting[1]):
                    self._queue.remove(waiting)
                    waiting[0].release()
                    return

    def _take(self, owner: str | None) -> bool:
        if not self._free or owner in self._owners:
            return False
        self._free -= 1
        if owner is not None:
            self._owners.add(owner)
        return True

    @contextmanager
    def held(self, deadline: float, owner: str | None = None, *, user: str = "") -> Iterator[None]:
        """Hold a place, waiting for one until `deadline` (monotonic clock). Raises `LaneTimeout`.

        An `owner` holds one place at a time. Of a `user` at most `MAX_WAITING_OF_USER` wait, so that one user cannot
        fill the queue.
        """
        self._acquire(deadline, owner, user)
        try:
            yield
        finally:
            self.release(owner)

    def _acquire(self, deadline: float, owner: str | None, user: str) -> None:
        turn = threading.Lock(), owner, user
        with self._mutex:
            if self._take(owner):
                return
            if len(self._queue) >= MAX_WAITING:
                raise LaneTimeout("too many requests wait already")
            if user and sum(waiting[2] == user for waiting in self._queue) >= MAX_WAITING_OF_USER:
                raise LaneTimeout("too many requests of this user wait already")
            turn[0].acquire()
            self._queue.append(turn)
        try:
            turn[0].acquire(timeout=max(0.0, deadline - time.monotonic()))
        except BaseException:  # the request was killed
            if not self._leave_queue(turn):
                self.release(owner)
            raise
        if self._leave_queue(turn):
            raise LaneTimeout("other requests took too long")

    def _leave_queue(self, turn: tuple[threading.Lock, str | None, str]) -> bool:
        """Whether it was still in the queue; otherwise it has been handed a place."""
        with self._mutex:
            if turn in self._queue:
                self._queue.remove(turn)
                return True
            return False
