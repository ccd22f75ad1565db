"""The unit of work: a function marked `@reads` or `@writes`, its connection and its transaction.

Work on the database is a function whose first parameter is the owner:

- `@reads` runs it without a transaction of its own, each statement seeing what is committed by then;
- `@writes` runs it in one transaction, commits when it returns and rolls back when it raises. Inside another write it
  joins that transaction, so several writes can be made atomic together.

On PostgreSQL each transaction names the owner, and row-level security shows it that user's rows only, in addition to
the WHERE of every statement. See docs/operations.md for the roles.

Both run the work again when the database asks for that (a deadlock, a serialization failure, a connection that had
died before anything was committed), so such a function must have no effect beside its statements.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
from flask import current_app
from psycopg.errors import ConnectionTimeout, OperationalError
from sqlalchemy import Executable
from sqlalchemy.engine import Connection, CursorResult, Engine, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..concurrency.lanes import LaneTimeout
from . import pipeline, prepared, sqlite
from .base import db
from .failures import ATTEMPTS, RETRYABLE, DatabaseUnavailable, is_unavailable, sqlstate
from .prepared import BoundStatement, Rows

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT = 5
"""Seconds after which a statement is given up, and on SQLite a wait for its write lock."""


class Owner(Protocol):
    """Whose data a piece of work is about."""

    @property
    def id(self) -> str: ...


PURGE, SIGN_OUTS = "purge", "sign-outs"
"""The jobs that look across users, and have a policy each: who has something to forget; which sessions have ended."""

P = ParamSpec("P")

R = TypeVar("R")

O = TypeVar("O", bound=Owner)  # noqa: E741  O as in Owner


class UnitOfWork:
    """A piece of work under way: whose it is, and the connection that its statements go to."""

    def __init__(self, engine: Engine, owner: str, *, writable: bool) -> None:
        self.owner = owner
        self.writable = writable
        self.committing = False
        self.lost = False
        """Whether the connection has died."""
        self._named: pipeline.RowSecurityContext = ("", "")
        """What the transaction was told."""
        self._engine = engine
        self._pool = self._engine.pool
        self._pooled = self._engine.raw_connection()
        self._core: Connection | None = None
        self.job = ""
        """Of the statement that is sent by way of SQLAlchemy."""

    def is_on(self, connection: Connection) -> bool:
        """Whether its statements go there."""
        return connection is self._core

    @property
    def core(self) -> Connection:
        """The connection as SQLAlchemy has it, for statements that are not prepared."""
        if self._core is None:
            self._core = Connection(self._engine, self._pooled)
        return self._core

    @property
    def has_begun(self) -> bool:
        """Whether a transaction is under way."""
        return self._driver is not None and self._driver.in_transaction

    @property
    def _driver(self) -> Any:
        return self._pooled.dbapi_connection

    def first(self, job: str = "") -> list[pipeline.PipelinedStatement]:
        """What PostgreSQL must be told before the next statement: that a transaction begins, and whose it is."""
        messages = []
        # Not in autocommit, which nothing here leaves, the driver would say it itself.
        if self.writable and not self.has_begun and self._driver.autocommit:
            messages.append(pipeline.BEGIN)
        names = (self.owner, job)
        if names != self._named:
            messages.append(pipeline.set_current_user(names))
            if self.writable:
                self._named = names
        return messages

    def execute(self, statement: Executable, parameters: Any, job: str) -> CursorResult[Any]:
        """Send a statement by way of SQLAlchemy."""
        self.job = job
        return self.core.execute(statement, parameters)

    def fetch(self, calls: Sequence[BoundStatement]) -> Sequence[Rows]:
        """Send prepared statements together."""
        driver = self._driver
        if isinstance(driver, sqlite.SQLiteConnection):
            return prepared.on_sqlite(driver, calls)
        return prepared.on_postgresql(driver, self.first(), calls)

    def begin_on_sqlite(self, *, in_threads: bool) -> None:
        """Begin the transaction of a write, and choose where statements are executed (taskapi/database/sqlite.py)."""
        self._driver.start(in_threads=in_threads)
        if self.writable:
            self._driver.begin()

    def commit(self) -> None:
        """Make it last; what was only read by prepared statements has nothing that could."""
        if not self.writable and self._core is None:
            return
        if self._is_dead:
            raise OperationalError("the connection was lost before the end of the work")
        self.committing = True
        if self._core is not None:
            self._core.commit()
        self._finish(pipeline.COMMIT)

    def end(self) -> None:
        """Give the connection back as it was: what was not committed is rolled back, and what has died replaced."""
        try:
            self._finish(pipeline.ROLLBACK)
        except BaseException:
            self._pooled.invalidate()  # it must not become anybody's next
            raise
        finally:
            self.lost = self._is_dead
            replaced = self._engine.pool is not self._pool
            if (self.lost or replaced) and self._driver is not None:
                self._pooled.invalidate()
            if self.lost and not replaced:
                self._engine.dispose()  # the others are of the same server; those at work follow when they are done
            (self._core or self._pooled).close()

    @property
    def _is_dead(self) -> bool:
        return self._driver is None or getattr(self._driver, "closed", False)

    def _finish(self, how: pipeline.PipelinedStatement) -> None:
        if not self.has_begun:
            return
        if isinstance(self._driver, sqlite.SQLiteConnection):
            end = self._driver.commit if how is pipeline.COMMIT else self._driver.rollback
            end()
        elif not self._is_dead:
            self._driver.run_pipeline([how])


running_unit: ContextVar[UnitOfWork | None] = ContextVar("taskapi_work", default=None)


def statements_before(connection: Connection) -> list[pipeline.PipelinedStatement]:
    work = running_unit.get()
    # The driver's own questions about a new connection are nobody's.
    return work.first(work.job) if work is not None and work.is_on(connection) else []


def _current_unit() -> UnitOfWork:
    work = running_unit.get()
    if work is None:
        raise RuntimeError("a statement outside of a function marked @reads or @writes")
    return work


def execute(statement: Executable, parameters: Any = None, *, job: str = "") -> CursorResult[Any]:
    """Send one statement on the connection of the running work.

    `job` names the policy that lets it read other users' rows as well; none lets it write them.
    """
    return _current_unit().execute(statement, parameters, job)


def fetch(*calls: BoundStatement) -> Sequence[Rows]:
    """Send prepared statements on the connection of the running work, in one round trip; the rows of each."""
    return _current_unit().fetch(calls)


def setting(name: str) -> Any:
    """A setting of the application whose database this is."""
    return current_app.config[name]


def reads(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Let `work(owner, …)` read: without BEGIN and COMMIT, and inside a write as part of it."""

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if running := running_unit.get():
            _require_same_owner(owner, running)
            return work(owner, *args, **kwargs)
        return _run_with_retries(lambda: work(owner, *args, **kwargs), owner.id, writable=False)

    return run


def writes(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Let `work(owner, …)` write, in one transaction that is committed before this returns."""

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        running = running_unit.get()
        if running and not running.writable:
            raise RuntimeError("a write inside of a function marked @reads")
        if running:
            _require_same_owner(owner, running)
            return work(owner, *args, **kwargs)
        return _run_with_retries(lambda: work(owner, *args, **kwargs), owner.id, writable=True)

    return run


def _require_same_owner(owner: Owner, running: UnitOfWork) -> None:
    if running.owner != owner.id:
        raise RuntimeError("one user's work inside of another's")


def rows(statement: Executable, *, job: str = "") -> Sequence[Row[Any]]:
    """The rows of a statement about no user: the number of the migration, or, as a `job`, whose data is due."""
    return _run_with_retries(lambda: execute(statement, job=job).all(), "", writable=False)


def _run_with_retries(work: Callable[[], R], owner: str, *, writable: bool) -> R:
    engine = db.engine
    if engine.name == "sqlite":
        return _perform_on_sqlite(engine, work, owner, writable=writable)
    for attempt in range(1, ATTEMPTS + 1):
        running: UnitOfWork | None = None
        try:
            running = UnitOfWork(engine, owner, writable=writable)
            return _run(work, running)
        except PoolTimeout as error:
            raise DatabaseUnavailable("no free connection") from error
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            lost = running is not None and running.lost
            if attempt < ATTEMPTS and running is not None and _may_retry(cause, running):
                log.info("repeating work after %s (attempt %d)", sqlstate(cause) or "a lost connection", attempt)
                time.sleep(0.002 * 4**attempt if sqlstate(cause) in RETRYABLE else 0)
                continue
            if lost or is_unavailable(cause):
                uncertain = writable and running is not None and running.committing
                raise DatabaseUnavailable(str(cause), uncertain=uncertain) from error
            raise
    raise AssertionError("unreachable")


def _perform_on_sqlite(engine: Engine, work: Callable[[], R], owner: str, *, writable: bool) -> R:
    running: UnitOfWork | None = None

    def attempt(in_threads: bool) -> R:  # noqa: FBT001
        nonlocal running
        running = begun = UnitOfWork(engine, owner, writable=writable)

        def begin_and_work() -> R:
            begun.begin_on_sqlite(in_threads=in_threads)
            return work()

        return _run(begin_and_work, begun)

    lane = sqlite.WRITER if writable else sqlite.LONG_READER if owner else sqlite.SYSTEM_READER
    try:
        return sqlite.perform(attempt, lane, owner, STATEMENT_TIMEOUT)
    except PoolTimeout as error:
        raise DatabaseUnavailable("no free connection") from error
    except (DBAPIError, sqlite3.Error, LaneTimeout) as error:
        if sqlite.is_unavailable(error):
            uncertain = running is not None and running.committing and sqlite.may_be_saved(error)
            cause = error.orig if isinstance(error, DBAPIError) else error  # without the values of the statement
            raise DatabaseUnavailable(str(cause), uncertain=writable and uncertain) from error
        raise


def _run(work: Callable[[], R], running: UnitOfWork) -> R:
    token = running_unit.set(running)
    try:
        done = work()
        running.commit()
    finally:
        running_unit.reset(token)
        running.end()
    return done


def _may_retry(cause: BaseException | None, running: UnitOfWork) -> bool:
    if sqlstate(cause) in RETRYABLE:
        return True
    if isinstance(cause, ConnectionTimeout):
        return False  # the next would be as silent
    # A pooled connection that died while it lay idle. Once COMMIT was sent, nobody knows what became of it.
    return running.lost and not (running.committing and running.writable)
