"""Alembic environment: run the migrations in one transaction with a lock timeout, and grant the service's role.

Connects with `MIGRATION_DATABASE_URL`, whose role owns the tables, or with the service's own URL if it is not set.
"""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy import Connection, NullPool, create_engine, inspect, text

from taskapi.database.engine import CONNECT_TIMEOUT

LOCK_TIMEOUT = "4s"
"""Longest wait of a migration for a lock: requests queue behind it, so it fails after that and can be repeated."""

if context.is_offline_mode():
    raise SystemExit("taskapi has online migrations only: they inspect the database")

migrate = current_app.extensions["migrate"]

service = migrate.db.engine
url = current_app.config["MIGRATION_DATABASE_URL"]
# On PostgreSQL without the service's statement timeout, which a long migration would exceed.
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
    """Return the quoted name of the service's role, by connecting with it: a failed login must precede any change."""
    with service.connect() as connection:
        name: str = connection.execute(text("SELECT quote_ident(current_user)")).scalar_one()
        return name


def grant(connection: Connection, role: str) -> None:
    """Grant a role reading and writing of rows, and reading of the schema version; nothing else."""
    existing = set(inspect(connection).get_table_names())
    for name in existing & migrate.db.metadata.tables.keys():
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role}"))
    if "alembic_version" in existing:
        connection.execute(text(f"GRANT SELECT ON alembic_version TO {role}"))


grantee = role() if url else None
with engine.connect() as connection:

    def after_step(*_: object, **__: object) -> None:
        """Grant the service's role its rights on new tables: a later migration may use the service's own statements."""
        if grantee:
            grant(connection, grantee)

    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        on_version_apply=after_step,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
        if grantee:
            grant(connection, grantee)
    connection.commit()
