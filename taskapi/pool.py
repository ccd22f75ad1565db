"""SQLAlchemy's pool of connections, without its locks where nobody waits."""

from __future__ import annotations

import time

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Queue


class _Queue(Queue[ConnectionPoolEntry]):
    """The one that has rested longest is the next, so that none is forgotten on the way to the server.

    A connection is taken and given back in one step each, of a deque, which is safe among threads. Who finds none waits
    as in the queue. It is never full: there are no more connections than places for them.
    """

    _waiting = 0

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
        """Give it back."""
        self.queue.append(item)
        # Who began to wait before this has said so, and who looks from now on will find it.
        if self._waiting:
            with self.not_empty:
                self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:  # noqa: FBT001, FBT002
        """Take one; raises `Empty` if there is none, after `timeout` seconds if it is to `block`."""
        try:
            return self.queue.popleft()
        except IndexError:
            return self._wait(block, timeout)

    def _wait(self, block: bool, timeout: float | None) -> ConnectionPoolEntry:  # noqa: FBT001
        until = None if timeout is None else time.monotonic() + timeout
        with self.mutex:
            self._waiting += 1
            try:
                while True:
                    try:
                        return super().get(block, timeout)
                    except IndexError:  # somebody who did not wait was faster
                        timeout = None if until is None else max(0.0, until - time.monotonic())
            finally:
                self._waiting -= 1


class Pool(QueuePool):
    """No more connections than `pool_size`: without `max_overflow`."""

    _queue_class = _Queue
