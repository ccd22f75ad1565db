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
        """Return True if the user holds `per_user` places; a released place counts until its `rest` is over."""
        return self._held[user] >= self._per_user

    def acquire_now(self, user: str = "") -> bool:
        """Take a place without waiting; return False if none is free or the user holds `per_user`."""
        with self._mutex:
            return self._take(user)

    def release(self, user: str = "", *, rest: float = 0) -> None:
        """Give a place of the user back; it passes to the next request in the queue whose user may hold one more.

        For `rest` seconds the place still counts as held by this user, who cannot get another one instead; other users
        can.
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
        """Stop counting a place that the user has released, and pass on a free one (timer of `release`)."""
        with self._mutex:
            self._uncount(user)
            self._pass_on()

    def _uncount(self, user: str) -> None:
        """Count one place less as held by the user; call it with the mutex held."""
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]

    def _take(self, user: str) -> bool:
        """Take a place; return False if none is free or the user holds `per_user`. Call it with the mutex held."""
        if not self._free or self.is_full_for(user):
            return False
        self._free -= 1
        self._held[user] += 1
        return True

    def _pass_on(self) -> None:
        """Give a free place, if any, to the oldest request of the first user in the queue who may hold one more.

        That user then moves to the end of the queue. Call it with the mutex held.
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
        """Hold a place in the `with` block; waits for it until `deadline` and raises `LaneTimeout` as `acquire`."""
        self.acquire(deadline, user)
        try:
            yield
        finally:
            self.release(user)

    def acquire(self, deadline: float, user: str = "") -> None:
        """Take a place; if none is free, or the user holds `per_user`, wait for one until `deadline` (time.monotonic).

        Raises `LaneTimeout` then, and at once if `MAX_WAITING` requests, or `MAX_WAITING_OF_USER` of this user, wait
        already. A request that is killed while it waits keeps no place.
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
        """Remove a waiting request from the queue and return True; False if it has been given a place meanwhile."""
        with self._mutex:
            queue = self._queues.get(user, deque())
            if entry not in queue:
                return False
            queue.remove(entry)
            if not queue:
                del self._queues[user]
            return True
