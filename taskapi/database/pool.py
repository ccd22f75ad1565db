"""SQLAlchemy's pool of connections, without its locks where nobody waits, and without a net under what is taken."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util.queue import Queue


class _FIFOQueue(Queue[ConnectionPoolEntry]):
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


class PooledConnection(PoolProxiedConnection):
    """A connection that somebody has taken, as SQLAlchemy knows it.

    Its own would be given back when it is forgotten, too, and rolled back first. Here whoever takes one ends what was
    begun on it, and closes it.
    """

    __slots__ = ("_connection_record", "_pool", "dbapi_connection", "driver_connection")

    def __init__(self, pool: Pool, record: Any) -> None:
        self._pool = pool
        self._connection_record = record
        self.dbapi_connection: Any = record.get_connection()
        self.driver_connection = self.dbapi_connection

    @property
    def is_valid(self) -> bool:
        return self.dbapi_connection is not None

    @property
    def is_detached(self) -> bool:
        return False

    @property
    def info(self) -> Any:
        return {} if self._connection_record is None else self._connection_record.info

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dbapi_connection, name)

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:  # noqa: FBT001, FBT002
        """End the connection; its place in the pool is given back."""
        if self._connection_record is not None:
            self._connection_record.invalidate(e, soft)
            self.close()

    def close(self) -> None:
        """Give it back; it cannot be used after that."""
        record, self._connection_record = self._connection_record, None
        self.dbapi_connection = self.driver_connection = None
        if record is not None:
            self._pool.checkin(record)

    def _close_special(self, transaction_reset: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        # SQLAlchemy says so when it has rolled back itself.
        self.close()


class Pool(QueuePool):
    """No more connections than `pool_size`: without `max_overflow`. Nothing is done to one that is given back."""

    _queue_class = _FIFOQueue

    def connect(self) -> PooledConnection:
        """Take one."""
        record = self._do_get()
        try:
            return PooledConnection(self, record)
        except BaseException:
            self.checkin(record)
            raise

    def checkin(self, record: Any) -> None:
        """Let another have it, as it was."""
        while record.finalize_callback:
            undo = record.finalize_callback.pop()
            if record.dbapi_connection is not None:
                undo(record.dbapi_connection)
        self._do_return_conn(record)
