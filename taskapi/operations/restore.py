"""What has to happen once after the restore of a backup, before the service starts (`flask restored`)."""

from __future__ import annotations

from flask import current_app
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from ..database.base import db
from ..database.connecting import connect_arguments, session_settings, set_in_transactions
from ..database.engine import CONNECT_TIMEOUT
from ..tasks.restored import advance_counters

LOCK_TIMEOUT = "4s"
"""Longest wait for the lock of the table: the service should not be running."""


def finish_restore() -> int:
    """Advance the counters of all users (`advance_counters`) in one transaction; return the number of users.

    On PostgreSQL as the role that owns the tables: it lifts row-level security on its own table `users` for the
    transaction, in which nobody else can use the table.
    """
    engine = _owner_engine()
    with engine.connect() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        if is_postgresql:
            connection.execute(text("ALTER TABLE users NO FORCE ROW LEVEL SECURITY"))
        users = advance_counters(connection)
        if is_postgresql:
            connection.execute(text("ALTER TABLE users FORCE ROW LEVEL SECURITY"))
        connection.commit()
    return users


def _owner_engine() -> Engine:
    """Return an engine with the role of `MIGRATION_DATABASE_URL`, or of `DATABASE_URL` if it is not set."""
    if db.engine.dialect.name == "sqlite":
        return db.engine
    url = make_url(current_app.config["MIGRATION_DATABASE_URL"] or current_app.config["SQLALCHEMY_DATABASE_URI"])
    # Without the service's statement timeout: the statement changes all users.
    arguments = connect_arguments(url, "taskapi-restored", {"connect_timeout": CONNECT_TIMEOUT})
    engine = create_engine(url, poolclass=NullPool, connect_args={**arguments, "prepare_threshold": None})
    set_in_transactions(engine, session_settings(url, {"lock_timeout": LOCK_TIMEOUT}))
    return engine
