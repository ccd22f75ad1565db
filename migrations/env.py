"""Runs the migrations: in one transaction, never waiting long for a lock, and grants the service what it needs.

As the role of `MIGRATION_DATABASE_URL`, which owns the tables; without one, as the service itself.
"""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy import Connection, NullPool, create_engine, inspect, text

from taskapi.database.engine import CONNECT_TIMEOUT

LOCK_TIMEOUT = "4s"
"""A migration that waits for a lock makes everybody else wait behind it; better to give up and try again."""

if context.is_offline_mode():
    raise SystemExit("taskapi migrates a live database only: the steps look at it first")

migrate = current_app.extensions["migrate"]

service = migrate.db.engine
url = current_app.config["MIGRATION_DATABASE_URL"]
# On PostgreSQL without the service's deadlines, which a long step would meet.
engine = (
    service
    if service.dialect.name == "sqlite"
    else create_engine(
        url or service.url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT}",
            "application_name": "taskapi-migrations",
        },
    )
)


def role() -> str:
    """Whom to grant it, quoted; asked before anything is changed, for a role that cannot log in cannot serve."""
    with service.connect() as connection:
        name: str = connection.execute(text("SELECT quote_ident(current_user)")).scalar_one()
        return name


def grant(connection: Connection, role: str) -> None:
    """Let the service's role read and write rows, and read how far the schema is; no more."""
    there = set(inspect(connection).get_table_names())
    for name in there & migrate.db.metadata.tables.keys():
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role}"))
    if "alembic_version" in there:
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {role}"))


grantee = role() if url else None
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
        if grantee:
            grant(connection, grantee)
    connection.commit()
