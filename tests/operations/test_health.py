"""Liveness and readiness."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.errors import WrongObjectType
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from taskapi.database import transactions
from taskapi.database.base import db
from taskapi.operations.health import MIGRATION_HEAD
from tests import postgres
from tests.conftest import Statements, build, dispose_engines, migrate, run_migrations, superuser_engine


@pytest.fixture
def unreachable() -> Iterator[str]:
    """A database URL whose port refuses connections: the test has bound it and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"postgresql://taskapi@127.0.0.1:{bound.getsockname()[1]}/taskapi"


def set_revision(app: Flask, revision: str | None) -> None:
    """Set the revision in `alembic_version`; None removes it."""
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if revision is not None:
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


@pytest.fixture
def revision_is(app: Flask) -> Iterator[Callable[[str | None], None]]:
    """Set the revision of the database, which is reset after the test."""
    with app.app_context(), db.engine.connect() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    yield lambda revision: set_revision(app, revision)
    set_revision(app, before)


def test_healthz_executes_no_statement(client: FlaskClient, statements: Statements):
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.get_json() == {"status": "ok"}
    assert not statements.sent


def test_healthz_is_200_without_a_database(unreachable: str):
    assert build(unreachable).test_client().get("/healthz").status_code == 200


def test_readyz_is_200_with_a_migrated_database(make_app: Callable[..., Flask]):
    response = make_app().test_client().get("/readyz")
    assert response.status_code == 200
    assert response.get_json() == {"status": "ok"}


def test_readyz_is_503_without_a_database(unreachable: str):
    response = build(unreachable).test_client().get("/readyz")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    body = response.get_json()
    assert body["detail"] == "The database cannot be reached. Nothing was changed; try again shortly."
    assert "127.0.0.1" not in response.text


def test_readyz_is_503_when_the_folder_of_the_sqlite_file_is_missing(tmp_path: Path):
    response = build(f"sqlite:///{tmp_path}/away/taskapi.db").test_client().get("/readyz")
    assert response.status_code == 503


def test_readyz_is_503_before_the_first_migration(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/new.db"
    app = build(url)
    response = app.test_client().get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["detail"] == "The database is not migrated: run `flask db upgrade`."
    assert response.headers["Retry-After"] == "1"

    run_migrations(url)  # the file exists since the first request
    assert app.test_client().get("/readyz").status_code == 200
    with app.app_context():
        db.engine.dispose()


def test_readyz_names_the_missing_right_to_read_the_revision(postgresql_server: str) -> None:
    with postgres.new_database(postgresql_server) as url:
        migrate(url)
        app = build(url)
        with superuser_engine(url).begin() as connection:
            connection.execute(text(f"REVOKE SELECT ON alembic_version FROM {postgres.SERVICE}"))
        response = app.test_client().get("/readyz")
        dispose_engines(url)
        with app.app_context():
            db.engine.dispose()
    assert response.status_code == 503
    detail = "The role of DATABASE_URL has no right to SELECT from alembic_version: `flask db upgrade` grants it."
    assert response.get_json()["detail"] == detail


def test_readyz_says_that_the_database_is_not_migrated_only_if_the_table_of_the_revision_is_missing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ProgrammingError("SELECT", {}, WrongObjectType("alembic_version is a composite type"))
    monkeypatch.setattr(transactions, "rows", Mock(side_effect=error))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["detail"].startswith("The database cannot be reached.")


def test_readyz_is_503_after_a_downgrade_to_base(client: FlaskClient, revision_is: Callable[[str | None], None]):
    revision_is(None)
    assert client.get("/readyz").status_code == 503


def test_readyz_is_503_until_the_newest_migration_is_applied(
    client: FlaskClient, revision_is: Callable[[str | None], None]
):
    revision_is(f"{int(MIGRATION_HEAD) - 1:04}")
    assert client.get("/readyz").status_code == 503
    revision_is(MIGRATION_HEAD)
    assert client.get("/readyz").status_code == 200


def test_readyz_is_200_with_a_migration_of_a_later_release(
    client: FlaskClient, revision_is: Callable[[str | None], None]
):
    """During a rolling deployment the old code runs on the new schema."""
    revision_is(f"{int(MIGRATION_HEAD) + 1:04}")
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_healthz_and_readyz_need_no_token(client: FlaskClient, path: str):
    response = client.get(path, headers={"Authorization": "Bearer nonsense"})
    assert response.status_code == 200
