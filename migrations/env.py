"""Alembic environment: run the migrations in one transaction with a lock timeout, and grant the service's role.

Connects with `MIGRATION_DATABASE_URL`, whose role owns the tables, or with the service's own URL if it is not set.
"""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from taskapi.database.engine import owner_engine
from taskapi.database.failures import operator_message

LOCK_TIMEOUT = "4s"
"""Longest wait of a migration for a lock: requests queue behind it, so it fails after that and can be repeated."""

if context.is_offline_mode():
    raise SystemExit("taskapi has online migrations only: they inspect the database")

migrate = current_app.extensions["migrate"]

service = migrate.db.engine
url = make_url(current_app.config["MIGRATION_DATABASE_URL"] or current_app.config["SQLALCHEMY_DATABASE_URI"])
has_own_role = current_app.config["MIGRATION_DATABASE_URL"] is not None
engine = service if service.dialect.name == "sqlite" else owner_engine(url, LOCK_TIMEOUT)


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


def migrate_and_grant() -> None:
    """Run the migrations, and the grants if the tables have an owner of their own, in one transaction."""
    grantee = role() if has_own_role else None
    with engine.connect() as connection:

        def after_step(*_: object, **__: object) -> None:
            """Grant the service's role its rights on new tables: a later migration may use its statements."""
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


try:
    migrate_and_grant()
except DBAPIError as error:
    message = operator_message(error)
    if message is None:
        raise
    # One line instead of a traceback: not a defect of the code.
    raise SystemExit(f"Error: {message}") from None
