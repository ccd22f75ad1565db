"""The database: engine settings per dialect, the transaction of a request, and what a failure means.

Work on the database is a function whose first parameter is the owner, marked `@reads` or `@writes`:

- `@reads` runs it without a transaction of its own, each statement seeing what is committed by then;
- `@writes` runs it in one transaction, commits when it returns and rolls back when it raises. Inside
  another write it joins that one's transaction, so several writes can be made atomic together.

On PostgreSQL each of its transactions names the owner, and row-level security shows it that user's rows only:
a second wall behind the WHERE that every statement has. See docs/operations.md for the roles.

Both run it again when the database asks for that (a deadlock, a serialization failure, a connection that had
died before anything was committed), so such a function must have no effect beside its statements.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from psycopg.errors import ConnectionTimeout, OperationalError
from sqlalchemy import DateTime, Dialect, Executable, MetaData, text
from sqlalchemy.engine import Connection, CursorResult, Engine, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from . import postgresql, prepared, sqlite
from .config import Config
from .lanes import LaneTimeout
from .pool import Pool
from .prepared import Call, Rows

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
"""Where Alembic's steps stand, whatever directory a command is run from."""

POOL_SIZE = 8
"""Connections a worker holds at most, and requests it works on at a time (taskapi/serving.py)."""

STATEMENT_CACHE = 100
"""Compiled statements that SQLAlchemy keeps in a worker; it drops the oldest when there are half as many again.

All of the API without its lists has about 40. A list has one for each combination of filters and sort, a few thousand
in all, but whatever a client sends, 150 take 10 MB at most.
"""

POOL_TIMEOUT = 2
"""Seconds a request waits for a free connection before it is told to come back (503)."""

CONNECT_TIMEOUT = 2
"""Seconds to wait for PostgreSQL to accept a connection (libpq takes no less than 2)."""

STATEMENT_TIMEOUT = 5
"""Seconds after which a statement is given up, and on SQLite a wait for its write lock."""

SESSION = {
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
}
"""What PostgreSQL is told when a connection is made."""

ATTEMPTS = 4
"""How often work is tried that the database asks to have repeated."""

RETRYABLE = frozenset({"40001", "40P01", "26000"})
"""SQLSTATE serialization_failure and deadlock_detected: the same work again will do (PostgreSQL, 13.5); and
invalid_sql_statement_name: the server has forgotten what was prepared, and so has not executed it."""

UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE classes of a server that cannot serve now: connection, resources, operator intervention, system."""

UNAVAILABLE_STATES = frozenset({"55P03", "57014", "25006"})
"""lock_not_available, query_canceled (our timeout), read_only_sql_transaction (a standby)."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached or cannot serve now; nothing is wrong with the request.

    `uncertain` tells that it was lost while a COMMIT was under way: the write may or may not have been made.
    """

    def __init__(self, reason: str, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.uncertain = uncertain


class Owner(Protocol):
    """Whose data a piece of work is about."""

    @property
    def id(self) -> str: ...


class Base(DeclarativeBase):
    """Base of the models. They do not inherit from `db.Model`, which strict typing cannot follow."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


EMPTY = text("''")
"""The empty string as a default of the database: Alembic takes a plain one for none when it compares."""


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime in and out, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Nothing to do where the driver gives aware times, in the zone of its session: UTC (`SESSION`)."""
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None


def now() -> datetime:
    """The time of a write, in whole milliseconds: the precision of a JavaScript `Date`, so nothing is cut off there."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


db = SQLAlchemy(metadata=Base.metadata)
del db.session  # work is marked @reads or @writes


def init_app(app: Flask, config: Config) -> None:
    """Bind the engine of this application; nothing connects before the first request that needs it."""
    app.config["SQLALCHEMY_DATABASE_URI"] = config.database_url
    app.config["MIGRATION_DATABASE_URL"] = config.migration_database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(config.database_url)
    after = [*app.teardown_appcontext_funcs]
    db.init_app(app)
    app.teardown_appcontext_funcs[:] = after  # no session to be closed, after each request
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sqlite.use_timeout_connections(
                db.engine, timeout=STATEMENT_TIMEOUT, is_work=lambda: _running.get() is not None
            )
        else:
            postgresql.connect_patiently(db.engine)
            postgresql.speak_first(db.engine, _first)


def forget_connections(app: Flask) -> None:
    """Start with an empty pool in a forked process, leaving the parent's connections alone."""
    with app.app_context():
        db.engine.dispose(close=False)


def _engine_options(url: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "query_cache_size": STATEMENT_CACHE,
        "poolclass": Pool,
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT,
    }
    options["pool_reset_on_return"] = None  # work ends its transaction itself
    options["hide_parameters"] = True  # an error that is logged must not quote the content of tasks
    if url.startswith("sqlite"):
        options["pool_size"] = POOL_SIZE + sqlite.EXTRA_CONNECTIONS
        options["connect_args"] = {"timeout": 0, "check_same_thread": False, "factory": sqlite.TimeoutConnection}
    else:
        options["isolation_level"] = "AUTOCOMMIT"  # we say BEGIN ourselves, together with the first statement
        options["connect_args"] = {
            "connect_timeout": CONNECT_TIMEOUT,
            # A peer that vanished is noticed by the kernel (milliseconds), not by a hanging request.
            "tcp_user_timeout": STATEMENT_TIMEOUT * 1000,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
            "application_name": "taskapi",
        }
    return options


PURGE, SIGN_OUTS = "purge", "sign-outs"
"""The jobs that look across users, and have a policy each: who has something to forget; which sessions have ended."""

POLICIES = 4
"""Of a table: for what is shown, added, changed and removed (migration 0005)."""


def exempt_from_walls() -> str | None:
    """Why the database would show this service every user's rows; None if it would not. Asks PostgreSQL."""
    if db.engine.dialect.name != "postgresql":
        return None
    (found,) = rows(postgresql.walls(Base.metadata))
    if found.exempt:
        return "The database role of the service is a superuser or has BYPASSRLS"
    if found.walls < len(Base.metadata.tables):
        return "A table has no row-level security, or does not force it on its owner"
    if found.policies != POLICIES * len(Base.metadata.tables):
        return "A policy of row-level security is missing, or was added"
    return None


P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O", bound=Owner)  # noqa: E741  O as in Owner


class _Work:
    """A piece of work under way: whose it is, and the connection that its statements go to."""

    def __init__(self, engine: Engine, owner: str, *, writable: bool) -> None:
        self.owner = owner
        self.writable = writable
        self.committing = False
        self.lost = False
        """Whether the connection has died."""
        self._named: postgresql.Names = ("", "")
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

    def first(self, job: str = "") -> list[postgresql.Message]:
        """What PostgreSQL must be told before the next statement: that a transaction begins, and whose it is."""
        messages = []
        # Not in autocommit, which nothing here leaves, the driver would say it itself.
        if self.writable and not self.has_begun and self._driver.autocommit:
            messages.append(postgresql.BEGIN)
        names = (self.owner, job)
        if names != self._named:
            messages.append(postgresql.name_the_user(names))
            if self.writable:
                self._named = names
        return messages

    def execute(self, statement: Executable, parameters: Any, job: str) -> CursorResult[Any]:
        """Send a statement by way of SQLAlchemy."""
        self.job = job
        return self.core.execute(statement, parameters)

    def fetch(self, calls: Sequence[Call]) -> Sequence[Rows]:
        """Send prepared statements together."""
        driver = self._driver
        if isinstance(driver, sqlite.TimeoutConnection):
            return prepared.on_sqlite(driver, calls)
        return prepared.on_postgresql(driver, self.first(), calls)

    def begin_on_sqlite(self, *, in_threads: bool) -> None:
        """Begin the transaction of a write, and choose where statements are executed (taskapi/sqlite.py)."""
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
        self._finish(postgresql.COMMIT)

    def end(self) -> None:
        """Give the connection back as it was: what was not committed is rolled back, and what has died replaced."""
        try:
            self._finish(postgresql.ROLLBACK)
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

    def _finish(self, how: postgresql.Message) -> None:
        if not self.has_begun:
            return
        if isinstance(self._driver, sqlite.TimeoutConnection):
            end = self._driver.commit if how is postgresql.COMMIT else self._driver.rollback
            end()
        elif not self._is_dead:
            self._driver.exchange([how])


_running: ContextVar[_Work | None] = ContextVar("taskapi_work", default=None)


def _first(connection: Connection) -> list[postgresql.Message]:
    work = _running.get()
    # The driver's own questions about a new connection are nobody's.
    return work.first(work.job) if work is not None and work.is_on(connection) else []


def _work() -> _Work:
    work = _running.get()
    if work is None:
        raise RuntimeError("a statement outside of a function marked @reads or @writes")
    return work


def execute(statement: Executable, parameters: Any = None, *, job: str = "") -> CursorResult[Any]:
    """Send one statement on the connection of the running work.

    `job` names the policy that lets it read other users' rows as well; none lets it write them.
    """
    return _work().execute(statement, parameters, job)


def fetch(*calls: Call) -> Sequence[Rows]:
    """Send prepared statements on the connection of the running work, in one round trip; the rows of each."""
    return _work().fetch(calls)


def setting(name: str) -> Any:
    """A setting of the application whose database this is."""
    return current_app.config[name]


def reads(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Let `work(owner, …)` read: without BEGIN and COMMIT, and inside a write as part of it."""

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if running := _running.get():
            _stay_with(owner, running)
            return work(owner, *args, **kwargs)
        return _perform(lambda: work(owner, *args, **kwargs), owner.id, writable=False)

    return run


def writes(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Let `work(owner, …)` write, in one transaction that is committed before this returns."""

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        running = _running.get()
        if running and not running.writable:
            raise RuntimeError("a write inside of a function marked @reads")
        if running:
            _stay_with(owner, running)
            return work(owner, *args, **kwargs)
        return _perform(lambda: work(owner, *args, **kwargs), owner.id, writable=True)

    return run


def _stay_with(owner: Owner, running: _Work) -> None:
    if running.owner != owner.id:
        raise RuntimeError("one user's work inside of another's")


def rows(statement: Executable, *, job: str = "") -> Sequence[Row[Any]]:
    """The rows of a statement about no user: the number of the migration, or, as a `job`, whose data is due."""
    return _perform(lambda: execute(statement, job=job).all(), "", writable=False)


def _perform(work: Callable[[], R], owner: str, *, writable: bool) -> R:
    engine = db.engine
    if engine.name == "sqlite":
        return _perform_on_sqlite(engine, work, owner, writable=writable)
    for attempt in range(1, ATTEMPTS + 1):
        running: _Work | None = None
        try:
            running = _Work(engine, owner, writable=writable)
            return _run(work, running)
        except PoolTimeout as error:
            raise DatabaseUnavailable("no free connection") from error
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            lost = running is not None and running.lost
            if attempt < ATTEMPTS and running is not None and _may_repeat(cause, running):
                log.info("repeating work after %s (attempt %d)", _sqlstate(cause) or "a lost connection", attempt)
                time.sleep(0.002 * 4**attempt if _sqlstate(cause) in RETRYABLE else 0)
                continue
            if lost or _is_unavailable(cause):
                uncertain = writable and running is not None and running.committing
                raise DatabaseUnavailable(str(cause), uncertain=uncertain) from error
            raise
    raise AssertionError("unreachable")


def _perform_on_sqlite(engine: Engine, work: Callable[[], R], owner: str, *, writable: bool) -> R:
    running: _Work | None = None

    def attempt(in_threads: bool) -> R:  # noqa: FBT001
        nonlocal running
        running = begun = _Work(engine, owner, writable=writable)

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


def _run(work: Callable[[], R], running: _Work) -> R:
    token = _running.set(running)
    try:
        done = work()
        running.commit()
    finally:
        _running.reset(token)
        running.end()
    return done


def _may_repeat(cause: BaseException | None, running: _Work) -> bool:
    if _sqlstate(cause) in RETRYABLE:
        return True
    if isinstance(cause, ConnectionTimeout):
        return False  # the next would be as silent
    # A pooled connection that died while it lay idle. Once COMMIT was sent, nobody knows what became of it.
    return running.lost and not (running.committing and running.writable)


def _sqlstate(cause: BaseException | None) -> str | None:
    return getattr(cause, "sqlstate", None)


def _is_unavailable(cause: BaseException | None) -> bool:
    state = _sqlstate(cause)
    if state is None:
        # psycopg raises without a state when there was no server to give one.
        return type(cause) in (OperationalError, ConnectionTimeout)
    return state.startswith(UNAVAILABLE_CLASSES) or state in UNAVAILABLE_STATES
