"""deploy/postgresql/create-roles.sh, on a real PostgreSQL server: the service is ready with the generated secrets, and its role owns nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests import postgres
from tests.conftest import serving
from tests.deploy.files import create_roles, env_file


@dataclass(frozen=True)
class Database:
    """A server that `create-roles.sh` has prepared, and the generated settings with its address."""

    superuser: str
    service: str
    owner: str
    accounts: str


@pytest.fixture(scope="module")
def database(secrets_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Roles belong to a whole server, so this is another one than that of the other tests."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-postgresql-") as folder,
        postgres.server(Path(folder)) as server,
    ):
        superuser = server.get_uri()
        create_roles(superuser, env_file(secrets_folder / "postgresql.env"))
        own = env_file(secrets_folder / "migrate.env")
        accounts = env_file(secrets_folder / "frontend.env")["AUTH_DATABASE_URL"]
        yield Database(
            superuser,
            *(at_server(url, superuser) for url in (own["DATABASE_URL"], own["MIGRATION_DATABASE_URL"], accounts)),
        )


def at_server(url: str, superuser: str) -> str:
    """Return a generated URL with the address of the test's server."""
    server = make_url(superuser)
    return (
        make_url(url).set(host=server.host, port=server.port, query=server.query).render_as_string(hide_password=False)
    )


def test_the_service_is_ready_after_the_migration_with_the_generated_settings(database: Database):
    with serving(database.service, MIGRATION_DATABASE_URL=database.owner) as app:
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code == 0, result.output
        assert app.test_client().get("/readyz").json == {"status": "ok"}


def test_the_role_of_the_service_can_create_no_table(database: Database):
    with psycopg.connect(plain(database.service)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (id int)")


@pytest.mark.parametrize(("role", "other"), [("accounts", "taskapi"), ("service", "taskapi_accounts")])
def test_a_role_cannot_connect_to_the_other_database(database: Database, role: str, other: str):
    url = make_url(getattr(database, role)).set(database=other).render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(plain(url)).close()


def test_the_frontend_owns_its_database(database: Database):
    with psycopg.connect(plain(database.accounts)) as connection:
        connection.execute("CREATE TABLE account (id int)")
        connection.rollback()


def plain(url: str) -> str:
    """Return a URL for libpq."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
