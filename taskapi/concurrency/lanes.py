"""FIFO semaphores that limit how many requests do one kind of work at a time in a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAITING = 100
"""Maximum number of requests that wait for a lane, since each holds its body in memory; the next one is refused."""

MAX_WAITING_OF_USER = 50
"""Maximum number of requests of one user that wait for a lane."""


class LaneTimeout(Exception):
    """No place became free before the deadline, or too many requests wait already."""


class Lane:
    """A FIFO semaphore with `places`; each `owner` holds at most one place.

    A waiting request whose owner holds a place is passed over in the queue.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._mutex = threading.Lock()
        self._queue: list[tuple[threading.Lock, str | None, str]] = []
        self._owners: set[str | None] = set()

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return len(self._queue)

    def acquire_now(self, owner: str | None = None) -> bool:
        """Take a place without waiting; return False if none is free or the owner holds one."""
        with self._mutex:
            return self._take(owner)

    def release(self, owner: str | None = None) -> None:
        """Give a place back, or pass it to the first request in the queue whose owner holds none."""
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
        """Hold a place for the `with` block; waits until `deadline` (monotonic clock), then raises `LaneTimeout`.

        An `owner` holds one place at a time. At most `MAX_WAITING_OF_USER` requests of a `user` wait, so that one user
        cannot fill the queue.
        """
        self._acquire(deadline, owner, user)
        try:
            yield
        finally:
            self.release(owner)

    def _acquire(self, deadline: float, owner: str | None, user: str) -> None:
        """Take a place or wait in the queue, each entry of which has a lock that `release` opens."""
        entry = threading.Lock(), owner, user
        with self._mutex:
            if self._take(owner):
                return
            if len(self._queue) >= MAX_WAITING:
                raise LaneTimeout("too many requests wait already")
            if user and sum(waiting[2] == user for waiting in self._queue) >= MAX_WAITING_OF_USER:
                raise LaneTimeout("too many requests of this user wait already")
            entry[0].acquire()
            self._queue.append(entry)
        try:
            entry[0].acquire(timeout=max(0.0, deadline - time.monotonic()))
        except BaseException:  # the worker killed the request's greenlet
            if not self._leave_queue(entry):
                self.release(owner)
            raise
        if self._leave_queue(entry):
            raise LaneTimeout("other requests took too long")

    def _leave_queue(self, entry: tuple[threading.Lock, str | None, str]) -> bool:
        """Remove an entry from the queue; return False if it is no longer there because it was given a place."""
        with self._mutex:
            if entry in self._queue:
                self._queue.remove(entry)
                return True
            return False
