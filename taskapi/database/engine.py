"""The engine: connection settings for SQLite and PostgreSQL, pool size and timeouts."""

from __future__ import annotations

from typing import Any

from flask import Flask

from ..config import Config
from . import pipeline, sqlite, unit_of_work
from .base import db
from .pool import Pool
from .unit_of_work import STATEMENT_TIMEOUT, running_unit, statements_before

POOL_SIZE = 8
"""Connections a worker holds at most, and requests it works on at a time (taskapi/server/worker.py)."""

STATEMENT_CACHE = 100
"""Compiled statements that SQLAlchemy keeps in a worker; it drops the oldest when there are half as many again.

All of the API without its lists has about 40. A list has one for each combination of filters and sort, a few thousand
in all, but whatever a client sends, 150 take 10 MB at most.
"""

POOL_TIMEOUT = 2
"""Seconds a request waits for a free connection before it is told to come back (503)."""

CONNECT_TIMEOUT = 2
"""Seconds to wait for PostgreSQL to accept a connection (libpq takes no less than 2)."""

SESSION = {
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
}
"""What PostgreSQL is told when a connection is made."""


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
                db.engine, timeout=unit_of_work.STATEMENT_TIMEOUT, is_work=lambda: running_unit.get() is not None
            )
        else:
            pipeline.use_timeout_connections(db.engine)
            pipeline.prepend_statements(db.engine, statements_before)


def discard_inherited_pool(app: Flask) -> None:
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
        options["connect_args"] = {"timeout": 0, "check_same_thread": False, "factory": sqlite.SQLiteConnection}
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
