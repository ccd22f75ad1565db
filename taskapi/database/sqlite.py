"""SQLite connections with a time limit per statement, so that a statement does not block the other requests.

A gevent worker runs all its requests in one thread. SQLite executes statements, and waits for locks, inside C: during
that time no other request of the worker runs. So on these connections

- the busy timeout is 0: a lock raises SQLITE_BUSY at once, and `run_in_lane` (sqlite_lanes.py) retries after a sleep;
- a statement may take `INLINE_LIMIT` seconds in the worker's thread. One that takes longer is interrupted, and
  `run_in_lane` runs the work again with its statements in native threads, where each may take the statement timeout.

Switching greenlets in SQLite's progress handler instead would leave its frames on a C stack that gevent moves away.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, event

from ..concurrency.cooperative import yielding
from .sqlite_errors import retry_busy

INLINE_LIMIT = 0.003
"""Seconds of processor time that a statement may block the other requests of a gevent worker.

Processor time and not wall-clock time: on a busy machine short statements would exceed a wall-clock limit and be queued
behind the long ones.
"""

LONG_READS = 2
"""Requests per worker that may read in native threads at a time: threads take processor time from other requests."""

EXTRA_CONNECTIONS = LONG_READS + 2
"""Connections for work without a concurrency slot: the long reads, the next writer, and reads about no user."""

MANY_VALUES = 100
"""A statement with more values than this, such as those of an import, goes to a native thread at once."""

CACHE_KIB, BULK_CACHE_KIB = 2_000, 16_000
"""KiB of a connection's page cache, SQLite's default and that of a transaction which writes many rows.

With a smaller cache SQLite writes pages to the log, and reads them again, several times in that transaction.
"""

SLICE_ROWS = 200
"""Rows that are converted before other requests run: about 2 ms."""

INLINE_STEPS, THREAD_STEPS = 200, 10_000
"""Instructions of SQLite's virtual machine after which the time limit is checked.

The check needs the GIL, which a native thread has to wait for, so it is rarer there. In the worker's own thread the
most expensive search compares about 20 rows, of 1 ms each, between two checks.
"""

R = TypeVar("R")


class Threads(Protocol):
    """Interface for running calls that block inside C in native threads (concurrency/threads.py)."""

    def run(self, call: Callable[[], R], cancel: Callable[[], object]) -> R:
        """Execute `call` in a native thread and return its result; call `cancel` if the wait for it is killed."""
        ...


_threads: Threads | None = None


def use_threads(threads: Threads | None) -> None:
    """Execute long statements of this process in `threads`; with None, the default, in the calling thread."""
    global _threads  # noqa: PLW0603  one pool of threads per worker process
    _threads = threads


def has_threads() -> bool:
    """Return True if this process has native threads for long statements (`use_threads`)."""
    return _threads is not None


class SQLiteConnection(sqlite3.Connection):
    """A sqlite3 connection that interrupts statements (SQLITE_INTERRUPT) at their time limit.

    There is no limit until `start` is called, so a migration has none.
    """

    timeout = math.inf
    """Time limit in seconds of a statement that does not block other requests."""
    _limit = _deadline = math.inf
    _in_threads = _has_bulk_cache = False
    _clock = staticmethod(time.monotonic)

    def start(self, *, in_threads: bool) -> None:
        """Set the time limit of each statement from now on, and whether statements run in native threads.

        The limit is `timeout` of wall-clock time with `in_threads`, and in a process without native threads; otherwise
        `INLINE_LIMIT` of processor time. A unit of work calls this before its first statement.
        """
        self._in_threads = in_threads
        if in_threads or _threads is None:
            self._limit, self._clock = self.timeout, time.monotonic
        else:
            self._limit, self._clock = INLINE_LIMIT, time.thread_time

    def cursor(self, _factory: object = None) -> Any:
        """Return a cursor that reads all rows when it executes (called by SQLAlchemy); `_factory` is unused."""
        return Cursor(self)

    def rows(self, sql: str, values: Sequence[Any]) -> Iterable[Any]:
        """Execute a statement and return all its rows, as tuples; past the time limit raises SQLITE_INTERRUPT.

        It runs where `start` chose. More than `SLICE_ROWS` rows are returned as an iterator that yields to other
        requests: to convert 1,000 rows takes 10 ms.
        """
        if self._in_threads:
            rows = self.run(lambda: sqlite3.Cursor(self).execute(sql, values).fetchall())
        else:
            self._deadline = self._clock() + self._limit
            rows = sqlite3.Cursor(self).execute(sql, values).fetchall()
        return yielding(rows, every=SLICE_ROWS) if len(rows) > SLICE_ROWS else rows

    def run(self, call: Callable[[], R], *, is_long: bool = False) -> R:
        """Return `call()`, which executes on this connection, within one time limit that starts now (SQLITE_INTERRUPT).

        Limit and thread are those that `start` chose. With `is_long`, if the process has native threads, the call and
        the rest of the unit of work, COMMIT included, run in them, with `timeout` as the limit of each call.
        """
        if is_long and _threads is not None:
            self.start(in_threads=True)  # the following statements too: COMMIT has as much to write
        self._deadline = self._clock() + self._limit
        if _threads is None or not self._in_threads:
            return call()
        self.check_deadline_every(THREAD_STEPS)
        try:
            return _threads.run(call, self._cancel)
        finally:
            self.check_deadline_every(INLINE_STEPS)

    def execute_for_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement without a result for each of the rows, in one call (`executemany`) with one time limit.

        It, and the rest of the unit of work, COMMIT included, run in a native thread if the process has them. Until the
        end of the transaction the connection has a large page cache.
        """
        self._has_bulk_cache = True
        self._set_cache(BULK_CACHE_KIB)
        self.cursor().executemany(sql, rows)

    def begin(self) -> None:
        """Begin a transaction with the write lock; raises SQLITE_BUSY at once if another connection holds it.

        A deferred transaction that reads first and then writes could not be retried: SQLITE_BUSY_SNAPSHOT is permanent.
        """
        self.rows("BEGIN IMMEDIATE", ())

    def commit(self) -> None:
        """Commit without a time limit, if a transaction is open; in any case restore the page cache's size."""
        self._without_limit(super().commit)

    def rollback(self) -> None:
        """Roll back without a time limit, if a transaction is open; in any case restore the page cache's size."""
        self._without_limit(super().rollback)

    def _without_limit(self, end: Callable[[], None]) -> None:
        """If a transaction is open, call `end`, a commit or rollback, without a time limit, where `start` chose.

        Restores the size of the page cache also if none is open, but not if `end` raises.
        """
        if self.in_transaction:
            # An interrupted COMMIT would leave the transaction open.
            self._deadline = math.inf
            if _threads is None or not self._in_threads:
                end()
            else:
                _threads.run(end, lambda: None)
        if self._has_bulk_cache:
            self._has_bulk_cache = False
            self._set_cache(CACHE_KIB)  # frees the memory: many connections are kept open

    def _set_cache(self, kib: int) -> None:
        """Set the maximum size of this connection's page cache, in KiB."""
        sqlite3.Cursor(self).execute(f"PRAGMA cache_size = -{kib}")

    def check_deadline_every(self, steps: int) -> None:
        """Check the time limit every `steps` instructions of SQLite's virtual machine; past it: SQLITE_INTERRUPT."""
        self.set_progress_handler(self._is_past_deadline, steps)

    def _is_past_deadline(self) -> bool:
        """Return True, which interrupts the statement, once the time limit is over (progress handler)."""
        return self._clock() > self._deadline

    def _cancel(self) -> None:
        """Interrupt the statement that `run` executes in a native thread (SQLITE_INTERRUPT); any thread may call it.

        One that begins later is interrupted only after `THREAD_STEPS` instructions; the next `run` sets a new limit.
        """
        self._deadline = 0
        self.interrupt()


class Cursor(sqlite3.Cursor):
    """A cursor for SQLAlchemy that reads all rows when it executes.

    SQLite goes on searching while rows are fetched, so the time limit must include the fetching.
    """

    connection: SQLiteConnection
    _rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        """Execute a statement and read all its rows within the time limit; return this cursor.

        With more than `MANY_VALUES` parameters it runs in a native thread if the process has them, and so does the rest
        of the unit of work, COMMIT included.
        """
        self._rows = self.connection.run(
            partial(self._execute, super().execute, sql, parameters), is_long=len(parameters) > MANY_VALUES
        )
        return self

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        """Execute a statement for each of the parameters, all within one time limit; return this cursor.

        It runs in a native thread if the process has them, and so does the rest of the unit of work, COMMIT included.
        """
        self._rows = self.connection.run(partial(self._execute, super().executemany, sql, parameters), is_long=True)
        return self

    def _execute(self, execute: Callable[..., object], sql: str, parameters: Any) -> Iterator[Any]:
        """Call `execute` (sqlite3's `execute` or `executemany`), read all rows, and return an iterator over them."""
        execute(sql, parameters)
        return iter(super().fetchall())

    def __next__(self) -> Any:
        """Return the next row that was read."""
        return next(self._rows)

    def fetchone(self) -> Any:
        """Return the next row that was read; None after the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next `size` rows that were read (None: `arraysize`), or fewer at the end."""
        return list(islice(self._rows, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        """Return all rows that were read and not yet fetched."""
        return list(self._rows)


def use_timeout_connections(engine: Engine, *, timeout: float, is_work: Callable[[], bool]) -> None:
    """Configure the connections of an engine: limits, WAL, full sync; `timeout` (seconds) of a statement and a lock.

    Code that uses the engine directly, such as a migration, gets a transaction with the write lock. `is_work` returns
    True inside a unit of work, which begins its own transaction.
    """

    def configure(connection: SQLiteConnection, _record: object) -> None:
        """Set up a new connection: no implicit BEGIN, pragmas, time limits (SQLAlchemy's connect event).

        A pragma waits up to the timeout for a lock, and then raises SQLITE_BUSY.
        """
        # We send BEGIN: sqlite3 would send it before the first write, after the reads that the write depends on.
        connection.isolation_level = None
        # WAL: readers do not wait for the writer. FULL: a committed write survives a power failure.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            retry_busy(partial(connection.execute, f"PRAGMA {pragma}"), time.monotonic() + timeout)
        connection.timeout = timeout
        connection.check_deadline_every(INLINE_STEPS)

    def begin(connection: Connection) -> None:
        """Begin a transaction with the write lock, unless a unit of work is running (SQLAlchemy's begin event).

        Waits up to the timeout for the lock, and then raises SQLITE_BUSY.
        """
        if not is_work():
            driver: Any = connection.connection.dbapi_connection
            retry_busy(driver.begin, time.monotonic() + timeout)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
