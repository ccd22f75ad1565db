"""The unit of work: the database connection and the transaction of one call of a function marked @reads or @writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import Executable, event
from sqlalchemy.engine import Connection, CursorResult, Engine

from . import pipeline, prepared, row_security, sqlite
from .prepared import BoundStatement, Prepared, Rows


class UnitOfWork:
    """One call of a function marked @reads or @writes: its owner, its transaction and the connection it checks out."""

    def __init__(self, engine: Engine, owner: str, *, writable: bool) -> None:
        """Check a connection out of the pool; raises SQLAlchemy's TimeoutError if none becomes free, and DBAPIError."""
        self.owner = owner
        self.writable = writable
        self.is_committing = False
        """True once COMMIT is sent, unless the server skipped it because a statement before it failed."""
        self.lost = False
        """True if the connection died; set by `end`."""
        self._row_security_context: row_security.RowSecurityContext = ("", "")
        """The (user_id, job) last set with set_config in this transaction."""
        self._engine = engine
        self._pool = self._engine.pool
        self._pooled = self._engine.raw_connection()
        self._core: Connection | None = None
        self.core_job = ""
        """The row-level security job (`taskapi.job`) of the current Core statement; read by the do_execute hook."""

    def uses(self, connection: Connection) -> bool:
        """Return True if `connection` is this unit of work's Core connection."""
        return connection is self._core

    @property
    def core(self) -> Connection:
        """The SQLAlchemy Core connection over the pooled connection, made at first use, for what is not `Prepared`."""
        if self._core is None:
            self._core = Connection(self._engine, self._pooled)
        return self._core

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and COMMIT or ROLLBACK."""
        driver = self._pooled.dbapi_connection
        return driver is not None and driver.in_transaction

    @property
    def _driver(self) -> Any:
        """The sqlite3 or psycopg connection; None once it is invalidated."""
        return self._pooled.dbapi_connection

    def statements_to_prepend(self, job: str = "") -> list[pipeline.PipelinedStatement]:
        """Return the statements to send before the next one on PostgreSQL: BEGIN and set_config, or [] if none is due.

        BEGIN is for a write, and with Citus for each statement of a read (`statements_to_append`). The caller must
        send them: a write does not get the same set_config again.
        """
        statements = []
        driver = self._driver
        # With autocommit off the driver would send BEGIN itself. Our engine never turns it off.
        if (self.writable or driver.is_distributed) and not self.in_transaction and driver.autocommit:
            statements.append(pipeline.BEGIN)
        context = (self.owner, job)
        if context != self._row_security_context or self._must_set_session():
            settings = driver.transaction_settings
            statements.append(row_security.set_current_user(context, settings, is_distributed=driver.is_distributed))
            if self.writable:
                self._row_security_context = context
        return statements

    def statements_to_append(self) -> tuple[pipeline.PipelinedStatement, ...]:
        """Return the statements to send after those of a read: COMMIT if Citus distributes the database."""
        return (pipeline.COMMIT,) if self._driver.is_distributed and not self.writable else ()

    def _must_set_session(self) -> bool:
        """Return True if a transaction begins now, and has to set session settings, which a pooler does not keep."""
        return bool(self._driver.transaction_settings) and not self.in_transaction

    def execute(self, statement: Executable, parameters: Any, job: str) -> CursorResult[Any]:
        """Execute a statement with SQLAlchemy Core, return its result; `job` as in `database.transactions.execute`."""
        self.core_job = job
        return self.core.execute(statement, parameters)

    def fetch(self, calls: Sequence[BoundStatement]) -> Sequence[Rows]:
        """Execute prepared statements, on PostgreSQL in one round trip; return the rows of each."""
        driver = self._driver
        if isinstance(driver, sqlite.SQLiteConnection):
            return prepared.execute_on_sqlite(driver, calls)
        return prepared.execute_on_postgresql(driver, self.statements_to_prepend(), calls, self.statements_to_append())

    def fetch_with_lock_timeout(self, calls: Sequence[BoundStatement], timeout: str) -> Sequence[Rows]:
        """Do what `fetch` does in a write, waiting for a lock no longer than `timeout` (PostgreSQL: LockNotAvailable).

        The limit is for these statements only. SQLite has no locks but the one of its writers.
        """
        driver = self._driver
        if isinstance(driver, sqlite.SQLiteConnection):
            return prepared.execute_on_sqlite(driver, calls)
        limit = partial(row_security.set_lock_timeout, is_distributed=driver.is_distributed)
        before = [*self.statements_to_prepend(), limit(timeout)]
        return prepared.execute_on_postgresql(driver, before, calls, [limit(driver.lock_timeout)])

    def fetch_and_commit(self, calls: Sequence[BoundStatement]) -> Sequence[Rows]:
        """Execute prepared statements and COMMIT in one round trip (PostgreSQL); return the rows of each.

        If the connection is lost during the round trip, the outcome of COMMIT is unknown. So a connection that died
        while it was idle is detected before anything is sent. After a long idle time this is not certain; then COMMIT
        is left to `commit`, and the first round trip tests the connection. Raises psycopg's errors, and sets
        `is_committing` if COMMIT may have been executed.
        """
        driver: pipeline.TimeoutConnection = self._driver
        driver.require_open()
        before = self.statements_to_prepend()
        after = (pipeline.COMMIT,) if driver.was_used_recently else ()
        try:
            return prepared.execute_on_postgresql(driver, before, calls, after)
        except psycopg.Error:
            self.is_committing = bool(after) and not driver.skipped_last
            raise

    def execute_for_each(self, statement: Prepared, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a prepared statement, whose result is not read, for each of the rows, in one call (SQLite only)."""
        self._driver.execute_for_each(statement.on_sqlite.sql, rows)

    def begin_on_sqlite(self, *, in_threads: bool) -> None:
        """Choose where statements are executed (taskapi/database/sqlite_lanes.py), and begin a write's transaction.

        Call it before the first statement. Raises SQLITE_BUSY if another connection holds the write lock.
        """
        self._driver.start(in_threads=in_threads)
        if self.writable:
            self._driver.begin()

    def commit(self) -> None:
        """Commit. Does nothing for a read that used prepared statements only: it has no transaction.

        Raises psycopg's OperationalError if the connection is closed. Sets `is_committing` before COMMIT is sent.
        """
        if not self.writable and self._core is None:
            return
        if self._is_dead:
            raise OperationalError("the connection was lost before the end of the work")
        self.is_committing = True
        if self._core is not None:
            self._core.commit()
        self._end_transaction(pipeline.COMMIT)

    def end(self) -> None:
        """Roll back what is not committed and return the connection to the pool; set `lost`.

        If the connection died, it and all pooled connections are discarded. Raises the error of a failed rollback.
        """
        try:
            self._end_transaction(pipeline.ROLLBACK)
        except BaseException:
            self._pooled.invalidate()  # its transaction may still be open, so the pool must not hand it out again
            raise
        finally:
            self.lost = self._is_dead
            pool_was_replaced = self._engine.pool is not self._pool
            if self.lost or pool_was_replaced:
                if self._driver is not None:
                    self._pooled.invalidate()
                if not pool_was_replaced:
                    # All pooled connections go to the same failed server. Discard the pool; connections that are
                    # checked out are invalidated at checkin, by the line above.
                    self._engine.dispose()
            (self._core or self._pooled).close()

    @property
    def _is_dead(self) -> bool:
        """True if the driver's connection is invalidated or closed."""
        driver = self._pooled.dbapi_connection
        return driver is None or getattr(driver, "closed", False)

    def _end_transaction(self, command: pipeline.PipelinedStatement) -> None:
        """Send COMMIT or ROLLBACK (`command`), unless no transaction is open or the connection is dead."""
        if not self.in_transaction:
            return
        if isinstance(self._driver, sqlite.SQLiteConnection):
            end = self._driver.commit if command is pipeline.COMMIT else self._driver.rollback
            end()
        elif not self._is_dead:
            self._driver.run_pipeline([command])


running_unit: ContextVar[UnitOfWork | None] = ContextVar("taskapi_unit_of_work", default=None)
"""The unit of work of the current request, if a function marked @reads or @writes is running."""


def _statements_around_core(connection: Connection) -> tuple[Sequence[pipeline.PipelinedStatement], ...]:
    """Return the statements to send before a Core statement on `connection`, and those to send after it.

    None outside of a unit of work, such as SQLAlchemy's own queries about a new connection (version, encoding).
    """
    unit = running_unit.get()
    if unit is None or not unit.uses(connection):
        return (), ()
    return unit.statements_to_prepend(unit.core_job), unit.statements_to_append()


def prepend_statements(engine: Engine) -> None:
    """Make an engine send BEGIN and set_config in one pipeline with the Core statement after them.

    They cost no extra round trip. Listens to SQLAlchemy's do_execute events.
    """

    def hook(execute: Callable[..., object]) -> Callable[..., bool]:
        """Return a listener; `execute` is the psycopg method that it calls in SQLAlchemy's place if it prepends."""

        def run(cursor: psycopg.Cursor[Any], *arguments: Any) -> bool:
            """Execute a Core statement in one pipeline with those due before and after it; return True.

            If none is due, executes nothing and returns False: SQLAlchemy executes the statement itself.
            """
            *statement, context = arguments
            before, after = _statements_around_core(context.root_connection)
            if not before:
                return False  # SQLAlchemy executes the statement itself
            with cursor.connection.pipeline():
                for each in before:
                    psycopg.RawCursor(cursor.connection).execute(each.sql, each.values)
                execute(cursor, *statement)
                for each in after:
                    psycopg.RawCursor(cursor.connection).execute(each.sql)
            return True

        return run

    event.listen(engine, "do_execute", hook(psycopg.Cursor.execute))
    event.listen(engine, "do_execute_no_params", hook(psycopg.Cursor.execute))
    event.listen(engine, "do_executemany", hook(psycopg.Cursor.executemany))


def current_unit() -> UnitOfWork:
    """Return the running unit of work; raises RuntimeError outside of a function marked @reads or @writes."""
    unit = running_unit.get()
    if unit is None:
        raise RuntimeError("a statement was executed outside of a function marked @reads or @writes")
    return unit
