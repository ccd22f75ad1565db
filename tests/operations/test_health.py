"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from taskapi.database.base import db
from taskapi.operations.health import MIGRATION_HEAD
from tests.conftest import Statements, beyond_walls, build, migrate


@pytest.fixture
def unreachable() -> Iterator[str]:
    """A database behind a port that nobody listens at: it is ours, and refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"postgresql://taskapi@127.0.0.1:{taken.getsockname()[1]}/taskapi"


def set_revision(app: Flask, revision: str | None) -> None:
    with app.app_context(), beyond_walls().begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if revision is not None:
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


@pytest.fixture
def revision_is(app: Flask) -> Iterator[Callable[[str | None], None]]:
    with app.app_context(), db.engine.connect() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    yield lambda revision: set_revision(app, revision)
    set_revision(app, before)


def test_alive_asks_no_database(client: FlaskClient, statements: Statements):
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.get_json() == {"status": "ok"}
    assert not statements.sent


def test_alive_without_any_database(unreachable: str):
    assert build(unreachable).test_client().get("/healthz").status_code == 200


def test_ready_with_a_migrated_database(client: FlaskClient):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json() == {"status": "ok"}


def test_not_ready_without_a_database(unreachable: str):
    response = build(unreachable).test_client().get("/readyz")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    body = response.get_json()
    assert body["detail"] == "The database cannot be reached. Nothing was changed; try again shortly."
    assert "127.0.0.1" not in response.text


def test_not_ready_while_the_folder_of_the_database_is_away(tmp_path: Path):
    response = build(f"sqlite:///{tmp_path}/away/taskapi.db").test_client().get("/readyz")
    assert response.status_code == 503


def test_not_ready_before_the_first_migration(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/new.db"
    app = build(url)
    response = app.test_client().get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["detail"] == "The database is not migrated: run `flask db upgrade`."
    assert response.headers["Retry-After"] == "1"

    migrate(url)
    assert app.test_client().get("/readyz").status_code == 200
    with app.app_context():
        db.engine.dispose()


def test_not_ready_when_every_migration_was_taken_back(client: FlaskClient, revision_is: Callable[[str | None], None]):
    revision_is(None)
    assert client.get("/readyz").status_code == 503


def test_not_ready_behind_the_newest_migration(client: FlaskClient, revision_is: Callable[[str | None], None]):
    revision_is(f"{int(MIGRATION_HEAD) - 1:04}")
    assert client.get("/readyz").status_code == 503
    revision_is(MIGRATION_HEAD)
    assert client.get("/readyz").status_code == 200


def test_ready_under_a_later_release(client: FlaskClient, revision_is: Callable[[str | None], None]):
    """While a deployment rolls, the old code runs on the new schema."""
    revision_is(f"{int(MIGRATION_HEAD) + 1:04}")
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_neither_needs_a_token(client: FlaskClient, path: str):
    response = client.get(path, headers={"Authorization": "Bearer nonsense"})
    assert response.status_code == 200
