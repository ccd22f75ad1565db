"""Back up and restore a database with the commands of docs/operations.md."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from taskapi.database.base import db
from tests import postgres
from tests.conftest import build

BACKUP_ROLE = "taskapi_backup"
"""May read the rows of all users, and write none."""

CREATE_BACKUP_ROLE = f"""
DO $$ BEGIN
  CREATE ROLE {BACKUP_ROLE} LOGIN PASSWORD '{BACKUP_ROLE}' BYPASSRLS;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
GRANT pg_read_all_data TO {BACKUP_ROLE};
"""

TABLES = ("users", "tasks", "idempotency_keys", "idempotency_usage", "ended_sessions", "seen_notices")


def back_up_sqlite(url: str, file: Path) -> None:
    """Write a copy of a SQLite database that is in use."""
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        connection.execute("VACUUM INTO ?", (str(file),))


def as_backup_role(superuser_url: str) -> str:
    """Create the role for backups on the server of a database, and return the database's URL for it."""
    with psycopg.connect(libpq_url(superuser_url), autocommit=True) as connection:
        connection.execute(CREATE_BACKUP_ROLE)
    return libpq_url(make_url(superuser_url).set(username=BACKUP_ROLE, password=BACKUP_ROLE))


def libpq_url(url: Any) -> str:
    """Return a URL of SQLAlchemy for PostgreSQL's own programs."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def dump(tools: postgres.Tools, superuser_url: str, file: Path, *options: str) -> None:
    """Write a dump of a database as the role for backups."""
    tools.run("pg_dump", "--format=custom", f"--file={file}", *options, f"--dbname={as_backup_role(superuser_url)}")


def restore(tools: postgres.Tools, file: Path, superuser_url: str) -> None:
    """Restore a dump into an empty database as the superuser, who makes the roles of the dump its owners."""
    tools.run("pg_restore", "--exit-on-error", f"--dbname={libpq_url(superuser_url)}", str(file))


@contextmanager
def snapshot(superuser_url: str) -> Iterator[tuple[str, dict[tuple[str, str], Any]]]:
    """Hold a snapshot of a database for the block; yield its id for `pg_dump --snapshot` and its `checksums`."""
    with psycopg.connect(libpq_url(superuser_url)) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (name,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        yield name, checksums(connection)


def checksums(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], Any]:
    """Return the number and the checksum of the rows of each table and user."""
    found = {}
    for table in TABLES:
        # The columns by name: a restored table may have them in another order.
        statement = (
            f"SELECT user_id, count(*), md5(string_agg(row, E'\\n' ORDER BY row))"
            f" FROM (SELECT user_id, to_jsonb(t)::text AS row FROM {table} t) AS rows GROUP BY user_id"
        )
        for user, count, checksum in connection.execute(statement.encode()):
            found[table, user] = (count, checksum)
    return found


def upgrade(url: str) -> None:
    """Run `flask db upgrade` on a restored database."""
    settings = {} if url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(url)}
    app = build(url, **settings)
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    with app.app_context():
        db.engine.dispose()
