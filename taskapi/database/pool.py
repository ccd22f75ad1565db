"""QueuePool with lock-free checkout and checkin, without reset-on-return and without return on garbage collection.

The caller must end its transaction and close the connection; `UnitOfWork.end` does. SQLAlchemy's `_ConnectionFairy`
registers a weakref callback per checkout, which returns a leaked connection, and rolls back at each checkin.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util.queue import Queue

from ..telemetry.metrics import POOL_WAIT_SECONDS, POOL_WAITS

T = TypeVar("T")


class FIFOQueue(Queue[T]):
    """SQLAlchemy's FIFO queue, which takes its lock only when a thread has to wait.

    deque.append and deque.popleft are atomic. FIFO: the connection idle longest is checked out first, so none stays
    idle long enough for a NAT or firewall to drop it. The queue is never full: the pool has no overflow connections.
    """

    waiting = 0
    """Number of threads in `_wait`."""

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
        """Append an item and wake one waiting thread; never waits."""
        self.queue.append(item)
        # No lost wakeup: a waiter increments `waiting` before it checks the deque; we append before we read it.
        if self.waiting:
            with self.not_empty:
                self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> T:  # noqa: FBT001, FBT002
        """Remove and return the first item; without one wait, or raise `Empty` at once if `block` is False.

        Raises `Empty` after `timeout` seconds; None is no limit.
        """
        try:
            return self.queue.popleft()
        except IndexError:
            return self._wait(block, timeout)

    def _wait(self, block: bool, timeout: float | None) -> T:  # noqa: FBT001
        """Return an item that `put` appends, or raise `Empty` after `timeout` seconds, as SQLAlchemy's queue does.

        Waits again if another thread, which need not wait, takes the item first.
        """
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        with self.mutex:
            self.waiting += 1
            try:
                while True:
                    try:
                        return super().get(block, timeout)
                    except IndexError:  # a thread that did not wait took the connection, without the lock
                        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            finally:
                self.waiting -= 1
                if block:
                    POOL_WAITS.add()
                    POOL_WAIT_SECONDS.add(amount=time.monotonic() - started)


class PooledConnection(PoolProxiedConnection):
    """The object that a checkout returns, in place of SQLAlchemy's `_ConnectionFairy` (see the module docstring)."""

    __slots__ = ("_connection_record", "_pool", "dbapi_connection", "driver_connection")

    def __init__(self, pool: Pool, record: Any) -> None:
        """Take the connection of `record`, which connects if it has none."""
        self._pool = pool
        self._connection_record = record
        self.dbapi_connection: Any = record.get_connection()
        self.driver_connection = self.dbapi_connection

    @property
    def is_valid(self) -> bool:
        """False once the connection is closed or invalidated."""
        return self.dbapi_connection is not None

    @property
    def is_detached(self) -> bool:
        """Always False: `detach` is not supported."""
        return False

    @property
    def info(self) -> Any:
        """The dict of the pooled connection in which SQLAlchemy and users of the engine keep data; {} once closed."""
        return {} if self._connection_record is None else self._connection_record.info

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the driver's connection."""
        return getattr(self.dbapi_connection, name)

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:  # noqa: FBT001, FBT002
        """Close the driver's connection and return its record to the pool, whose next checkout connects again.

        With `soft` the record is only marked, and its connection is closed at that checkout. Does nothing after
        `close`.
        """
        if self._connection_record is not None:
            self._connection_record.invalidate(e, soft)
            self.close()

    def close(self) -> None:
        """Return the connection to the pool; a second call has no effect. Does not end a transaction."""
        record, self._connection_record = self._connection_record, None
        self.dbapi_connection = self.driver_connection = None
        if record is not None:
            self._pool.checkin(record)

    def _close_special(self, transaction_reset: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Return the connection to the pool, as `close` does.

        SQLAlchemy calls this; `transaction_reset`, whether it has rolled back, matters only for its reset-on-return.
        """
        self.close()


class Pool(QueuePool):
    """QueuePool for `max_overflow=0` and `pool_reset_on_return=None`; sends no checkout, checkin and reset events."""

    _queue_class = FIFOQueue[ConnectionPoolEntry]

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a connection."""
        queue: Any = self._pool
        return int(queue.waiting)

    def connect(self) -> PooledConnection:
        """Check out a pooled or a new connection; raises SQLAlchemy's TimeoutError after `pool_timeout` seconds.

        An exception of connecting is raised, and the place in the pool stays usable.
        """
        record = self._do_get()
        try:
            return PooledConnection(self, record)
        except BaseException:
            self.checkin(record)
            raise

    def checkin(self, record: Any) -> None:
        """Put the connection of `record` back into the pool, after SQLAlchemy's callbacks that reset its settings."""
        while record.finalize_callback:
            restore = record.finalize_callback.pop()
            if record.dbapi_connection is not None:
                restore(record.dbapi_connection)
        self._do_return_conn(record)
