"""What only SQLite needs: statements with a time limit, and waits that stop one request and not the whole worker.

A gevent worker runs all its requests in one thread. SQLite executes statements, and waits for locks, inside C: while
it does, no other request of the worker runs. So on its connections

- the busy timeout is 0: who meets a lock gets SQLITE_BUSY at once, and `perform` tries again after a sleep;
- a statement gets `INLINE_LIMIT` seconds in the worker's thread. One that takes longer is interrupted, and `perform`
  runs the work again with its statements in native threads, where each may take the statement timeout.

Switching greenlets in SQLite's progress handler instead would leave its frames on a C stack that gevent moves away.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from random import uniform
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from ..concurrency import slots
from ..concurrency.lanes import Lane, LaneTimeout

INLINE_LIMIT = 0.003
"""Seconds of processor time that a statement may hold up the other requests of a gevent worker.

Not by the clock on the wall: on a busy machine short statements would look long, and wait behind the long ones.
"""

LONG_READS = 2
"""Requests per worker that read in native threads at a time; they take processor time from the others."""

EXTRA_CONNECTIONS = LONG_READS + 2
"""Connections for work without a concurrency slot: the long reads, the next writer, and reads about no user."""

MANY_VALUES = 100
"""A statement with more values than this, such as those of an import, goes to a native thread without a trial."""

INLINE_STEPS, THREAD_STEPS = 200, 10_000
"""Instructions of SQLite's virtual machine after which the time limit is checked.

The check needs the GIL, for which a native thread has to wait. 20 rows of the worst search, of 1 ms each, run between
two checks in the worker's own thread.
"""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.008
"""Seconds between two attempts to get a lock of SQLite; each pause is twice as long as the one before."""

_UNAVAILABLE = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
    | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
    | {sqlite3.SQLITE_INTERRUPT}
)

_NOT_SAVED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
"""Extended codes of a COMMIT that has failed before its last page was in the log.

SQLite rolls back after any failure of COMMIT except SQLITE_BUSY, where we do. But when it fails after that page was
written, at fsync or in the shared-memory index, a recovery of the log can still find the transaction complete.
"""

R = TypeVar("R")


class Threads(Protocol):
    """Runs calls that block inside C, while the other requests of the worker go on."""

    def run(self, call: Callable[[], R], cancel: Callable[[], object]) -> R: ...


_threads: Threads | None = None

WRITER, LONG_READER, SYSTEM_READER = Lane(1), Lane(LONG_READS), Lane(1)
"""SQLite takes one writer at a time. Reads about no user, such as the log of sign-outs, do not wait for long reads."""


def use_threads(threads: Threads | None) -> None:
    """Execute long statements of this process in native threads from now on; None: in place, as by default."""
    global _threads  # noqa: PLW0603  one worker, one set of threads
    _threads = threads


class SQLiteConnection(sqlite3.Connection):
    """A connection whose statements are interrupted (SQLITE_INTERRUPT) when their time is up.

    Without `start`, as in a migration, they may take any time.
    """

    timeout = math.inf
    """Seconds for a statement that does not hold up others."""
    _limit = _deadline = math.inf
    _in_threads = False
    _clock = staticmethod(time.monotonic)

    def start(self, *, in_threads: bool) -> None:
        """Set the time limit for the statements of a piece of work."""
        self._in_threads = in_threads
        if in_threads or _threads is None:
            self._limit, self._clock = self.timeout, time.monotonic
        else:
            self._limit, self._clock = INLINE_LIMIT, time.thread_time

    def cursor(self, _factory: object = None) -> Any:
        """Return a cursor that reads all rows at once."""
        return Cursor(self)

    def rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Execute a statement and return its rows."""
        if self._in_threads:
            return self.run(lambda: sqlite3.Cursor(self).execute(sql, values).fetchall())
        self._deadline = self._clock() + self._limit
        return sqlite3.Cursor(self).execute(sql, values).fetchall()

    def run(self, call: Callable[[], R], *, is_long: bool = False) -> R:
        """Execute what `call` does on this connection, within the time limit."""
        if is_long and _threads is not None:
            self.start(in_threads=True)  # what follows too: the COMMIT has as much to write
        self._deadline = self._clock() + self._limit
        if _threads is None or not self._in_threads:
            return call()
        self.check_deadline_every(THREAD_STEPS)
        try:
            return _threads.run(call, self._cancel)
        finally:
            self.check_deadline_every(INLINE_STEPS)

    def begin(self) -> None:
        """Begin a transaction with the write lock, or raise SQLITE_BUSY.

        One that reads first and then writes could not be retried: it fails for good (SQLITE_BUSY_SNAPSHOT).
        """
        self.rows("BEGIN IMMEDIATE", ())

    def commit(self) -> None:
        self._without_limit(super().commit)

    def rollback(self) -> None:
        self._without_limit(super().rollback)

    def _without_limit(self, end: Callable[[], None]) -> None:
        if not self.in_transaction:
            return
        # An interrupted COMMIT would leave the transaction open.
        self._deadline = math.inf
        if _threads is None or not self._in_threads:
            end()
        else:
            _threads.run(end, lambda: None)

    def check_deadline_every(self, steps: int) -> None:
        """Let SQLite check the time limit after so many instructions of its virtual machine."""
        self.set_progress_handler(self._is_late, steps)

    def _is_late(self) -> bool:
        return self._clock() > self._deadline

    def _cancel(self) -> None:
        self._deadline = 0
        self.interrupt()


class Cursor(sqlite3.Cursor):
    """A cursor for SQLAlchemy that reads all rows when it executes: the search goes on while rows are read."""

    connection: SQLiteConnection
    _rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        self._rows = self.connection.run(
            partial(self._execute, super().execute, sql, parameters), is_long=len(parameters) > MANY_VALUES
        )
        return self

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        self._rows = self.connection.run(partial(self._execute, super().executemany, sql, parameters), is_long=True)
        return self

    def _execute(self, execute: Callable[..., object], sql: str, parameters: Any) -> Iterator[Any]:
        execute(sql, parameters)
        return iter(super().fetchall())

    def __next__(self) -> Any:
        return next(self._rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return list(islice(self._rows, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)


def use_timeout_connections(engine: Engine, *, timeout: float, is_work: Callable[[], bool]) -> None:
    """Configure the connections of an engine; `timeout` is in seconds, for a statement and for a lock.

    Who uses the engine directly, as a migration does, gets a transaction with the write lock; `is_work` tells work
    that begins its own.
    """

    def configure(connection: SQLiteConnection, _record: object) -> None:
        # We send BEGIN ourselves; the driver would put it before the first write only, too late to be safe.
        connection.isolation_level = None
        # WAL: readers never wait for the writer. FULL: an acknowledged write survives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            _retry_busy(partial(connection.execute, f"PRAGMA {pragma}"), time.monotonic() + timeout)
        connection.timeout = timeout
        connection.check_deadline_every(INLINE_STEPS)

    def begin(connection: Connection) -> None:
        if not is_work():
            driver: Any = connection.connection.dbapi_connection
            _retry_busy(driver.begin, time.monotonic() + timeout)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)


def perform(attempt: Callable[[bool], R], lane: Lane, owner: str, timeout: float) -> R:
    """Call `attempt(in_threads)`, and again when it met a lock or took too long for the worker's thread.

    It must have no effect when it raises. A writer holds `WRITER` meanwhile. Who has to wait gives its concurrency slot
    back until it is done, and takes a connection only when it is its turn: requests that wait keep no other from
    reading, and the long reads of one user do not keep those of another waiting. Raises SQLITE_BUSY or `LaneTimeout`
    after about `timeout` seconds of waiting.
    """
    in_threads = False
    if lane is not WRITER or lane.acquire_now():
        try:
            return attempt(in_threads)
        except (sqlite3.Error, DBAPIError) as error:
            in_threads = _is_too_long(error)
            if not in_threads and not _is_busy(error):
                raise
        finally:
            if lane is WRITER:
                lane.release()
        if in_threads:
            # The slot is still held: no more requests than slots make their trial before gevent polls its sockets.
            time.sleep(SHORTEST_PAUSE)
    # Requests that began to wait together must not all time out in one moment: that would be a long one.
    deadline = time.monotonic() + timeout * uniform(0.9, 1)  # noqa: S311
    if lane is SYSTEM_READER:  # its caller may hold a lock that holders of slots wait for
        with lane.held(deadline, user=owner):
            return _attempt_until(deadline, attempt, in_threads=in_threads)
    with slots.released(), lane.held(deadline, owner if lane is LONG_READER else None, user=owner):
        time.sleep(0.1 * SHORTEST_PAUSE)  # gevent runs 50 requests that are ready before it polls its sockets
        return _attempt_until(deadline, attempt, in_threads=in_threads)


def _attempt_until(deadline: float, attempt: Callable[[bool], R], *, in_threads: bool) -> R:
    try:
        return _retry_busy(partial(attempt, in_threads), deadline)
    except (sqlite3.Error, DBAPIError) as error:
        if in_threads or not _is_too_long(error):
            raise
    return _retry_busy(partial(attempt, True), deadline)


def _retry_busy(call: Callable[[], R], deadline: float) -> R:
    pause = SHORTEST_PAUSE
    while True:
        try:
            return call()
        except (sqlite3.Error, DBAPIError) as error:
            if not _is_busy(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _is_busy(error: BaseException) -> bool:
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def _is_too_long(error: BaseException) -> bool:
    return _threads is not None and _code(error) == sqlite3.SQLITE_INTERRUPT


def is_unavailable(error: BaseException) -> bool:
    """Whether SQLite cannot serve now, and nothing is wrong with the statement."""
    # The extended code's low byte is the primary one (SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY).
    return isinstance(error, LaneTimeout) or _code(error) & 0xFF in _UNAVAILABLE


def may_be_saved(error: BaseException) -> bool:
    """Whether a transaction can turn up although its COMMIT failed with this error."""
    return _code(error) not in _NOT_SAVED


def _code(error: BaseException) -> int:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", 0)
