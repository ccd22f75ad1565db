"""The engine: connection settings for SQLite and PostgreSQL, pool size and timeouts."""

from __future__ import annotations

from typing import Any

from flask import Flask
from sqlalchemy import URL, Engine, NullPool, create_engine
from sqlalchemy.engine import make_url

from ..config.settings import Config, ConfigError
from . import observed, sqlite, transactions
from .base import db
from .connecting import Connector, connect_arguments, session_settings, set_in_transactions
from .measured import (
    MeasuredConnection,
    MeasuredObservedConnection,
    MeasuredObservedSQLiteConnection,
    MeasuredSQLiteConnection,
    count_core_statements,
)
from .pipeline import TimeoutConnection
from .pool import Pool
from .transactions import STATEMENT_TIMEOUT
from .unit_of_work import prepend_statements, running_unit

POOL_SIZE = 8
"""Maximum number of connections per worker, and of requests that it executes at a time (taskapi/server/worker.py)."""

STATEMENT_CACHE = 100
"""Size of SQLAlchemy's cache of compiled statements; it evicts the least recently used when 50 % above the size.

The API without its lists has about 40 statements. Lists have one per combination of filters and sort, a few thousand in
all. 150 cached statements take at most 10 MB per worker.
"""

POOL_TIMEOUT = 2
"""Seconds that a request waits for a free connection before it gets 503 with Retry-After."""

CONNECT_TIMEOUT = 2
"""Seconds to wait for PostgreSQL to accept a connection (libpq takes no less than 2)."""

SESSION = {
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
}
"""Session settings on PostgreSQL, in addition to those that the service depends on (`connecting.REQUIRED`)."""


def init_app(app: Flask, config: Config) -> None:
    """Create the engine of an application, without an ORM session; it connects at the first use of the database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = config.database_url
    app.config["MIGRATION_DATABASE_URL"] = config.migration_database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(config)
    after = [*app.teardown_appcontext_funcs]
    try:
        db.init_app(app)
    except OSError as error:  # Flask-SQLAlchemy creates the folder of a SQLite file; an image is read-only
        raise ConfigError(
            [f"{error.filename} cannot be created for SQLite ({error.strerror}): set DATABASE_URL"]
        ) from None
    app.teardown_appcontext_funcs[:] = after  # no session to be closed, after each request
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sqlite.use_timeout_connections(
                db.engine, timeout=transactions.STATEMENT_TIMEOUT, is_work=lambda: running_unit.get() is not None
            )
        else:
            kind, _ = _connection_classes(config)
            Connector(session_settings(db.engine.url, SESSION), kind).listen(db.engine)
            prepend_statements(db.engine)
        if config.observes_requests:
            observed.observe_core(db.engine)
        if config.has_metrics:
            count_core_statements(db.engine)


def owner_engine(url: URL, lock_timeout: str) -> Engine:
    """Return an engine for commands that change tables, with a limit on waits for locks and none on statements.

    Migrations would exceed the service's statement timeout. psycopg prepares nothing: a pooler would lose it between
    two transactions. With Citus the statements on the shards of a table run one after the other, as several changes in
    one transaction require.
    """
    arguments = connect_arguments(url, "taskapi-migrations", {"connect_timeout": CONNECT_TIMEOUT})
    engine = create_engine(url, poolclass=NullPool, connect_args={**arguments, "prepare_threshold": None})
    settings = {"lock_timeout": lock_timeout, "citus.multi_shard_modify_mode": "sequential"}
    set_in_transactions(engine, session_settings(url, settings))
    return engine


def discard_inherited_pool(app: Flask) -> None:
    """Replace the pool of a forked process by an empty one; the connections, which its parent uses, are not closed."""
    with app.app_context():
        db.engine.dispose(close=False)


def _connection_classes(config: Config) -> tuple[type[TimeoutConnection], type[sqlite.SQLiteConnection]]:
    """Return the classes of connections to PostgreSQL and to SQLite, which do no more than the settings demand."""
    if config.has_metrics and config.observes_requests:
        return MeasuredObservedConnection, MeasuredObservedSQLiteConnection
    if config.has_metrics:
        return MeasuredConnection, MeasuredSQLiteConnection
    if config.observes_requests:
        return observed.ObservedConnection, observed.ObservedSQLiteConnection
    return TimeoutConnection, sqlite.SQLiteConnection


def _engine_options(config: Config) -> dict[str, Any]:
    """Return the arguments of `create_engine` for a SQLite or a PostgreSQL database.

    They set the pool, its size and timeout, the class and arguments of connections, and AUTOCOMMIT on PostgreSQL.
    """
    url = config.database_url
    options: dict[str, Any] = {
        "query_cache_size": STATEMENT_CACHE,
        "poolclass": Pool,
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT,
    }
    options["pool_reset_on_return"] = None  # a unit of work ends its transaction itself
    options["hide_parameters"] = True  # logged errors must not contain the content of tasks
    if url.startswith("sqlite"):
        _, kind = _connection_classes(config)
        options["pool_size"] = POOL_SIZE + sqlite.EXTRA_CONNECTIONS
        options["connect_args"] = {"timeout": 0, "check_same_thread": False, "factory": kind}
    else:
        options["isolation_level"] = "AUTOCOMMIT"  # we send BEGIN ourselves, in one pipeline with the first statement
        # Milliseconds after which the kernel closes a connection to a host that no longer acknowledges packets.
        timeouts = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": STATEMENT_TIMEOUT * 1000}
        options["connect_args"] = connect_arguments(make_url(url), "taskapi", timeouts)
    return options
