"""The people and the places of the tests: real databases, real tokens, no mocks."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask, current_app
from flask.testing import FlaskClient
from sqlalchemy import Engine, create_engine, event, select
from werkzeug.test import TestResponse

from taskapi import create_app
from taskapi.auth import keys
from taskapi.config import Config
from taskapi.database import engine
from taskapi.database.base import db
from taskapi.database.prepared import BoundStatement
from taskapi.database.sqlite import SQLiteConnection
from taskapi.database.transaction import UnitOfWork
from tests import postgres
from tests.openapi_guard import GuardedClient
from tests.waiting import PATIENCE
from tests.without_where import remove_owner_conditions

if os.environ.get("WITHOUT_WHERE"):
    remove_owner_conditions()

SECRET = "a-secret-for-tests-only-0123456789abcdef"
DIALECTS = ("sqlite", "postgresql")

WAITS = {
    (module, name): getattr(module, name)
    for module, name in ((engine, "POOL_TIMEOUT"), (engine, "CONNECT_TIMEOUT"), (keys, "FETCH_TIMEOUT"))
}
"""How long the service waits for others before it says 503."""


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """A machine that stalls for some seconds makes no 503 of what a test expects; see `promised`."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in WAITS:
            patch.setattr(module, name, PATIENCE)
        yield


@pytest.fixture
def promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits as they are, for tests about them."""
    for (module, name), wait in WAITS.items():
        monkeypatch.setattr(module, name, wait)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of our own, started for this run; `TEST_DATABASE_URL` names another. Its superuser's URL."""
    with ExitStack() as stack:
        url = os.environ.get("TEST_DATABASE_URL")
        if not url:
            # The wheel keeps a lock file there and warns where the variable is missing, as in a container.
            os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
            # Not below pytest's own folder: every run of pytest closes that to the server's user, this run's server too.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskapi-postgresql-"))
            url = stack.enter_context(postgres.server(Path(folder))).get_uri()
        postgres.server_url = url
        yield url


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A migrated database there, as the service's role sees it."""
    with postgres.new_database(postgresql_server) as url:
        migrate(url)
        yield url
        close(url)


@pytest.fixture(scope="session", params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database, once on each dialect."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgresql_url")
        return
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    yield url
    close(url)


def migrate(url: str) -> None:
    """`flask db upgrade`, by an application of its own; on PostgreSQL as the role that owns the tables."""
    app = build(url, **({} if url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(url)}))
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    with app.app_context():
        db.engine.dispose()


def build(database_url: str, **settings: Any) -> Flask:
    """An application as its factory makes it, with the tests' secret."""
    environ = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": database_url, **settings}
    app = create_app(Config.from_env(environ))
    app.test_client_class = GuardedClient
    return app


@pytest.fixture
def emptied(database_url: str) -> Iterator[str]:
    """The database, for a service in another process; what that leaves behind is removed."""
    yield database_url
    empty(database_url)


@pytest.fixture
def make_app(database_url: str) -> Iterator[Callable[..., Flask]]:
    """Applications of this test alone, with settings of their own, on an empty database of each dialect."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        made.append(build(database_url, **settings))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.engine.dispose()
    empty(database_url)


def empty(url: str) -> None:
    """Remove every row: the tests share two databases, and an application that keeps nothing."""
    with beyond_walls(url).connect() as connection:
        filled = [table for table in db.metadata.sorted_tables if connection.execute(select(table).limit(1)).first()]
        for table in filled:
            connection.execute(table.delete())
        connection.commit()


_beyond_walls: dict[str, Engine] = {}
_shared: dict[str, Flask] = {}


def beyond_walls(url: str | None = None) -> Engine:
    """The database of the application, or of a URL, for who sees every user's rows: the service's role does not."""
    url = url or current_app.config["SQLALCHEMY_DATABASE_URI"]
    if url not in _beyond_walls:
        full = url if url.startswith("sqlite") else postgres.beyond_walls(url)
        _beyond_walls[url] = create_engine(full, pool_pre_ping=True)  # tests end connections that are not their own
    return _beyond_walls[url]


def close(url: str) -> None:
    """End what the tests of a database shared."""
    if engine := _beyond_walls.pop(url, None):
        engine.dispose()
    if app := _shared.pop(url, None):
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(scope="session", autouse=True)
def closed() -> Iterator[None]:
    yield
    for url in {*_beyond_walls, *_shared}:
        close(url)


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application that all tests share which set nothing and change nothing about it; it limits no rates."""
    if database_url not in _shared:
        _shared[database_url] = build(database_url, RATE_LIMIT="off")
    yield _shared[database_url]
    empty(database_url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Nobody: a client without a token."""
    return app.test_client()


def token(sub: str, *, secret: str = SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token as Better Auth signs it with the shared secret; a claim of None is left out."""
    collecting = "PYTEST_VERSION" in os.environ and "PYTEST_CURRENT_TEST" not in os.environ
    assert not collecting, "a token made while tests are collected is old when its test runs"
    now = int(time.time())
    payload = {"sub": sub, "iat": now, "exp": now + 900, **claims}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, secret, "HS256", headers)


@dataclass
class Person:
    """Somebody signed in; verbs on the own path unless another is named."""

    client: FlaskClient
    id: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.token = self.token or token(self.id)

    def send(self, method: str, path: str = "", *, of: str | None = None, **options: Any) -> TestResponse:
        """`path` is below `/api/<user>/tasks`; `of` names another's."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.open(f"/api/{of or self.id}/tasks{path}", method=method, headers=headers, **options)

    def data(self, method: str, path: str = "", **options: Any) -> TestResponse:
        """`path` is below `/api/<user>`: the feed, the numbers, export, import and erasure."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.open(f"/api/{self.id}{path}", method=method, headers=headers, **options)

    def get(self, path: str = "", **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def post(self, path: str = "", **options: Any) -> TestResponse:
        return self.send("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self.send("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> TestResponse:
        return self.send("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.send("DELETE", path, **options)

    def add(self, title: str = "Buy milk", **members: Any) -> dict[str, Any]:
        """A new task, as it was answered."""
        response = self.post(json={"title": title, **members})
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.get_json()
        return made

    def revision(self) -> int:
        """How many writes there were: the first part of the list's tag; the second names the life of the data."""
        tag = re.fullmatch(r'"(\d+)\.([0-9a-f]{8}|0)"', self.get().headers["ETag"])
        assert tag
        assert (tag[1] == "0") == (tag[2] == "0")
        return int(tag[1])

    def titles(self, query: str = "") -> list[str]:
        response = self.get(query)
        assert response.status_code == 200, response.text
        return [task["title"] for task in response.get_json()]


@pytest.fixture
def alice(client: FlaskClient) -> Person:
    return Person(client, "alice")


@pytest.fixture
def mallory(client: FlaskClient) -> Person:
    return Person(client, "mallory")


@dataclass
class Statements:
    """Every SQL statement sent, with its parameters."""

    sent: list[tuple[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sent)

    def clear(self) -> None:
        self.sent.clear()


def as_driven(sql: str, values: list[Any]) -> tuple[str, Any]:
    """As SQLAlchemy hands it to the driver: `$1` is a name there."""
    if "$1" not in sql:
        return sql, tuple(values)
    return re.sub(r"\$(\d+)", r"%(p\1)s", sql), {f"p{n}": value for n, value in enumerate(values, 1)}


@pytest.fixture
def statements(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    """A recorder on the application's engine, and beside it: prepared statements do not go by way of that."""
    recorder = Statements()
    fetch = UnitOfWork.fetch

    def record_prepared(work: UnitOfWork, calls: Sequence[BoundStatement]) -> Any:
        for call in calls:
            compiled = call.statement.on_sqlite if on_sqlite else call.statement.on_postgresql
            recorder.sent.append(as_driven(compiled.sql, compiled.values(call.parameters)))
        return fetch(work, calls)

    monkeypatch.setattr(UnitOfWork, "fetch", record_prepared)
    begin = SQLiteConnection.begin

    def record_begin(connection: SQLiteConnection) -> None:
        recorder.sent.append(("BEGIN IMMEDIATE", ()))
        begin(connection)

    monkeypatch.setattr(SQLiteConnection, "begin", record_begin)

    def record(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        recorder.sent.append((statement, parameters))

    with app.app_context():
        engine = db.engine
        on_sqlite = engine.dialect.name == "sqlite"
    event.listen(engine, "before_cursor_execute", record)
    yield recorder
    event.remove(engine, "before_cursor_execute", record)
