"""Decorators for functions that use the database: `@reads`, and `@writes` (one transaction).

The first parameter of such a function is the owner of the data:

- `@reads` runs it without a transaction of its own; each statement sees what is committed when it starts;
- `@writes` runs it in one transaction, commits when it returns and rolls back when it raises. Inside another write it
  joins that transaction, so several writes can be made atomic together.

On PostgreSQL each transaction sets the owner's id with set_config, and row-level security shows it that user's rows
only, in addition to the WHERE of every statement. See docs/operations.md for the database roles.

Both decorators run the function again after a deadlock, a serialization failure, or a connection that died before
COMMIT was sent. So such a function must have no effect apart from its statements.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import psycopg
from flask import current_app
from psycopg.errors import ConnectionTimeout, QueryCanceled
from sqlalchemy import Executable
from sqlalchemy.engine import CursorResult, Engine, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..concurrency.lanes import LaneTimeout
from ..telemetry.limited_log import limited_log
from ..telemetry.metrics import RETRIES
from . import sqlite_errors, sqlite_lanes
from .base import db
from .failures import (
    ATTEMPTS,
    RETRY_REASONS,
    RETRYABLE,
    DatabaseUnavailable,
    is_defect,
    is_unavailable,
    is_user_unknown,
    sqlstate,
)
from .prepared import BoundStatement, Prepared, Rows
from .unit_of_work import UnitOfWork, current_unit, running_unit
from .write_limits import COMMITS, release_place, take_place

log = logging.getLogger(__name__)
STATEMENT_TIMEOUT = 5
"""Seconds after which a statement is canceled; on SQLite also the longest wait for the write lock."""


class Owner(Protocol):
    """The user whose rows a unit of work may read and write."""

    @property
    def id(self) -> str:
        """The id of the user."""


PURGE, SIGN_OUTS = "purge", "sign-outs"
"""Jobs that may read rows of all users, by a policy of their own (migration 0005): the daily purge looks for users with
expired rows, and each worker reads the list of ended sessions."""

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O", bound=Owner)  # noqa: E741  O as in Owner


def execute(statement: Executable, parameters: Any = None, *, job: str = "") -> CursorResult[Any]:
    """Execute a statement with SQLAlchemy Core in the running unit of work (RuntimeError without); return its result.

    `job` (`PURGE`, `SIGN_OUTS`) is for this statement only. On PostgreSQL the row-level security of some tables lets a
    job read other users' rows as well, but never write them.
    """
    return current_unit().execute(statement, parameters, job)


def fetch(*calls: BoundStatement) -> Sequence[Rows]:
    """Execute prepared statements in the running unit of work, and return the rows of each.

    On PostgreSQL they take one round trip together. Raises RuntimeError outside of a unit of work.
    """
    return current_unit().fetch(calls)


def commits_in_one_round_trip() -> bool:
    """Return True if `fetch_and_commit` may be called: on PostgreSQL, outside of a unit of work."""
    return running_unit.get() is None and db.engine.name == "postgresql"


def fetch_and_commit(owner: Owner, *calls: BoundStatement) -> Sequence[Rows]:
    """Execute prepared statements and COMMIT in a new transaction, whatever rows they return; return the rows of each.

    One round trip; COMMIT is a second one if the connection was idle for `MAX_IDLE` seconds. Retries and raises as
    `@writes` does. Call it only if `commits_in_one_round_trip`; the statements check in SQL what they depend on.
    """
    return _run_with_retries(lambda: current_unit().fetch_and_commit(calls), owner.id, writable=True)


def fetch_with_lock_timeout(timeout: str, *calls: BoundStatement) -> Sequence[Rows]:
    """Do what `fetch` does in a write, waiting for a lock no longer than `timeout`, such as `100ms` (PostgreSQL).

    Raises psycopg's LockNotAvailable, after which the transaction can only be rolled back.
    """
    return current_unit().fetch_with_lock_timeout(calls, timeout)


def execute_for_each(statement: Prepared, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a prepared statement, whose result is not read, for each of the rows, in one call (SQLite only).

    It runs in a native thread if the process has them, and so does the rest of the unit of work, COMMIT included. A row
    has the values of the placeholders, in their order and converted: what is computed here for each row is computed
    under the write lock. On PostgreSQL a statement takes many rows as one JSON parameter instead.
    """
    current_unit().execute_for_each(statement, rows)


def setting(name: str) -> Any:
    """Return `current_app.config[name]`: a setting of the application; KeyError without it."""
    return current_app.config[name]


def reads(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Decorate a function `work(owner, …)` that reads: no BEGIN and COMMIT. Inside a unit of work the call joins it.

    After a lock, a lost connection or (on SQLite) a slow statement `work` is run again. Raises `DatabaseUnavailable`,
    and RuntimeError inside a unit of work of another owner.
    """

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the decorated function in the running unit of work of this owner, otherwise in a new one, with retries.

        Raises `DatabaseUnavailable`, and RuntimeError if the running unit of work belongs to another owner.
        """
        if running := running_unit.get():
            _require_same_owner(owner, running)
            return work(owner, *args, **kwargs)
        return _run_with_retries(lambda: work(owner, *args, **kwargs), owner.id, writable=False)

    return run


def writes(work: Callable[Concatenate[O, P], R]) -> Callable[Concatenate[O, P], R]:
    """Decorate a function `work(owner, …)` that writes: one transaction, committed before the call returns.

    Inside a write the call joins that transaction, which commits later. After a lock, a deadlock, a serialization
    failure, a connection lost before COMMIT or (on SQLite) a slow statement `work` is run again. Raises
    `DatabaseUnavailable`, and RuntimeError inside a read or another owner's write.
    """

    @wraps(work)
    def run(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the decorated function in the running write of this owner, otherwise in a new transaction, with retries.

        A new transaction is committed before the return. Raises `DatabaseUnavailable`, and RuntimeError if the running
        unit of work is a read or belongs to another owner.
        """
        running = running_unit.get()
        if running and not running.writable:
            raise RuntimeError("a function marked @writes was called inside a function marked @reads")
        if running:
            _require_same_owner(owner, running)
            return work(owner, *args, **kwargs)
        return _run_with_retries(lambda: work(owner, *args, **kwargs), owner.id, writable=True)

    return run


def _require_same_owner(owner: Owner, running: UnitOfWork) -> None:
    """Raise RuntimeError if the running unit of work belongs to another user."""
    if running.owner != owner.id:
        raise RuntimeError("the unit of work of one user was entered for another user")


def rows(statement: Executable, *, job: str = "") -> Sequence[Row[Any]]:
    """Return the rows of a statement about no user, such as the schema version; or of all users, with a `job`.

    It runs in a unit of work of its own, without an owner, also inside another. Raises `DatabaseUnavailable`.
    """
    return _run_with_retries(lambda: execute(statement, job=job).all(), "", writable=False)


def _run_with_retries(work: Callable[[], R], owner: str, *, writable: bool) -> R:
    """Run `work` in a new unit of work, again if `_may_retry`, up to `ATTEMPTS` times (SQLite: `run_in_lane`).

    With `writable` it is one transaction, committed before the return; otherwise each statement has its own snapshot.
    Raises the errors of `work`, and `DatabaseUnavailable` if there is no connection, it was lost or the server cannot
    serve; that is `uncertain` if the transaction may be committed.
    """
    engine = db.engine
    if engine.name == "sqlite":
        return _run_on_sqlite(engine, work, owner, writable=writable)
    if not writable:
        return _attempt_on_postgresql(engine, work, owner, writable=False)
    take_place(STATEMENT_TIMEOUT)
    try:
        return _attempt_on_postgresql(engine, work, owner, writable=True)
    finally:
        release_place()


def _attempt_on_postgresql(engine: Engine, work: Callable[[], R], owner: str, *, writable: bool) -> R:
    """Do what `_run_with_retries` does, on PostgreSQL; a write must hold a place (`write_limits`)."""
    for attempt in range(1, ATTEMPTS + 1):
        running: UnitOfWork | None = None
        try:
            if writable and COMMITS.is_suspicious:
                COMMITS.require_standby(engine)
            running = UnitOfWork(engine, owner, writable=writable)
            return _run_once(work, running)
        except PoolTimeout as error:
            raise DatabaseUnavailable("no free connection") from error
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            lost = running is not None and running.lost
            if attempt == 1 and is_user_unknown(cause):
                engine.dispose()  # the database was distributed meanwhile: new connections find that out
                continue
            if attempt < ATTEMPTS and running is not None and _may_retry(cause, running):
                RETRIES.add(RETRY_REASONS.get(sqlstate(cause) or "", "lost_connection"))
                reason = sqlstate(cause) or "a lost connection"
                message = f"retrying a transaction after {reason} (attempt {attempt})"
                limited_log(current_app, log).write(logging.INFO, reason, message)
                time.sleep(0.002 * 4**attempt if sqlstate(cause) in RETRYABLE else 0)
                continue
            if is_unavailable(cause) or (lost and not is_defect(cause)):
                uncertain = writable and running is not None and running.is_committing
                if uncertain and isinstance(cause, ConnectionTimeout):
                    COMMITS.report_timeout()
                raise DatabaseUnavailable(str(cause), uncertain=uncertain) from error
            raise
    raise AssertionError("unreachable")


def _run_on_sqlite(engine: Engine, work: Callable[[], R], owner: str, *, writable: bool) -> R:
    """Return the result of `work`, run on SQLite in a new unit of work, by `run_in_lane`; commit if `writable`.

    A write, a read of a user, and a read about no user (an empty `owner`) each have a lane. Raises as
    `_run_with_retries` does.
    """
    running: UnitOfWork | None = None

    def attempt(in_threads: bool) -> R:  # noqa: FBT001
        """Run `work` once in a new unit of work, and commit; with `in_threads` its statements run in native threads.

        Rolls back and raises if `work` or COMMIT fails.
        """
        nonlocal running
        running = unit = UnitOfWork(engine, owner, writable=writable)

        def begin_and_work() -> R:
            """Begin the unit of work, a write with the write lock (or SQLITE_BUSY), and return `work()`."""
            unit.begin_on_sqlite(in_threads=in_threads)
            return work()

        return _run_once(begin_and_work, unit)

    lane = sqlite_lanes.WRITER if writable else sqlite_lanes.LONG_READER if owner else sqlite_lanes.SYSTEM_READER
    try:
        return sqlite_lanes.run_in_lane(attempt, lane, owner, STATEMENT_TIMEOUT)
    except PoolTimeout as error:
        raise DatabaseUnavailable("no free connection") from error
    except (DBAPIError, sqlite3.Error, LaneTimeout) as error:
        if sqlite_errors.is_unavailable(error):
            uncertain = running is not None and running.is_committing and sqlite_errors.may_be_committed(error)
            # Not the DBAPIError, whose text has the values of the statement.
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise DatabaseUnavailable(str(cause), uncertain=writable and uncertain) from error
        raise


def _run_once(work: Callable[[], R], unit: UnitOfWork) -> R:
    """Return `work()`, run as the running unit of work; commit, or roll back if it raises.

    In both cases the connection returns to the pool.
    """
    token = running_unit.set(unit)
    try:
        result = work()
        unit.commit()
    finally:
        running_unit.reset(token)
        unit.end()
    return result


def _may_retry(cause: BaseException | None, running: UnitOfWork) -> bool:
    """Return True if the failed attempt cannot have committed, and another one may succeed without a long wait."""
    if sqlstate(cause) in RETRYABLE:
        return True
    if isinstance(cause, ConnectionTimeout | QueryCanceled):
        return False  # the server, or a node of its cluster, does not respond: another attempt would wait as long again
    # A pooled connection that died while it was idle. Once COMMIT was sent, a write may be committed: no retry.
    return running.lost and not (running.is_committing and running.writable)
