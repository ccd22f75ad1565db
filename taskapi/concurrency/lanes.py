"""Semaphores with a queue (lanes) that limit how many requests do one kind of work at a time in a process."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAITING = 100
"""Maximum number of requests that wait for a lane, since each holds its body in memory; the next one is refused."""

MAX_WAITING_OF_USER = 50
"""Maximum number of requests of one user that wait for a lane."""


class LaneTimeout(Exception):
    """No place became free before the deadline, or too many requests wait already."""


class Lane:
    """A semaphore with `places` that serves users in turn (round robin); each user holds at most `per_user` of them.

    However many requests of one user wait, each other user's first one waits for at most `per_user` of them.
    """

    def __init__(self, places: int, per_user: int = 1) -> None:
        self._free, self._per_user = places, per_user
        # Reentrant: a garbage collection that begins while it is held may release a permit (http/permits.py).
        self._mutex = threading.RLock()
        self._queues: dict[str, deque[threading.Lock]] = {}
        """The waiting requests of each user; the first user has the next turn."""
        self._held: Counter[str] = Counter()
        """Number of places of each user who holds one, or rests after having held it."""

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return sum(map(len, self._queues.values()))

    def is_full_for(self, user: str) -> bool:
        """Return True if the user holds `per_user` places, those that rest after a release included."""
        return self._held[user] >= self._per_user

    def acquire_now(self, user: str = "") -> bool:
        """Take a place without waiting; return False if none is free or the user holds `per_user`."""
        with self._mutex:
            return self._take(user)

    def release(self, user: str = "", *, rest: float = 0) -> None:
        """Give a place back, or pass it to the next user in the queue who may hold one more.

        The user gets no other place instead of it for `rest` seconds; other users do at once.
        """
        with self._mutex:
            self._free += 1
            if not rest:
                self._uncount(user)
            self._pass_on()
        if rest:
            timer = threading.Timer(rest, self._end_rest, [user])
            timer.daemon = True
            timer.start()

    def _end_rest(self, user: str) -> None:
        """Let the user hold one more place, and pass a free one on (called by the timer of `release`)."""
        with self._mutex:
            self._uncount(user)
            self._pass_on()

    def _uncount(self, user: str) -> None:
        """Count one place less for the user; call it with the mutex held."""
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]

    def _take(self, user: str) -> bool:
        """Take a place, or return False if none is free or the user holds `per_user`; call it with the mutex held."""
        if not self._free or self.is_full_for(user):
            return False
        self._free -= 1
        self._held[user] += 1
        return True

    def _pass_on(self) -> None:
        """Pass a free place, if there is one, to the oldest request of the first user in the queue who may take it.

        That user's next request comes after all others'. Call it with the mutex held.
        """
        for user in self._queues:
            if self._take(user):
                queue = self._queues.pop(user)
                queue.popleft().release()
                if queue:
                    self._queues[user] = queue
                return

    @contextmanager
    def held(self, deadline: float, user: str = "") -> Iterator[None]:
        """Wait for a place until `deadline`, hold it in the `with` block; raises `LaneTimeout` as `acquire` does."""
        self.acquire(deadline, user)
        try:
            yield
        finally:
            self.release(user)

    def acquire(self, deadline: float, user: str = "") -> None:
        """Take a place; wait for one until `deadline` (monotonic clock), then raise `LaneTimeout`.

        Raises it at once if `MAX_WAITING` requests wait already, or `MAX_WAITING_OF_USER` of this user, so that one
        user cannot fill the queue. A request that is killed while it waits takes no place.
        """
        entry = threading.Lock()  # `_pass_on` opens it
        with self._mutex:
            if self._take(user):
                return
            if self.waiting >= MAX_WAITING:
                raise LaneTimeout("too many requests wait already")
            if len(self._queues.get(user, ())) >= MAX_WAITING_OF_USER:
                raise LaneTimeout("too many requests of this user wait already")
            entry.acquire()
            self._queues.setdefault(user, deque()).append(entry)
        try:
            entry.acquire(timeout=max(0.0, deadline - time.monotonic()))
        except BaseException:  # the worker killed the request's greenlet
            if not self._leave_queue(user, entry):
                self.release(user)
            raise
        if self._leave_queue(user, entry):
            raise LaneTimeout("other requests took too long")

    def _leave_queue(self, user: str, entry: threading.Lock) -> bool:
        """Remove an entry from the queue; return False if it is no longer there because it was given a place."""
        with self._mutex:
            queue = self._queues.get(user, deque())
            if entry not in queue:
                return False
            queue.remove(entry)
            if not queue:
                del self._queues[user]
            return True
