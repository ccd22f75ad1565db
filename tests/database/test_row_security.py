"""On PostgreSQL a second wall stands behind every WHERE: a transaction shows and lets change one user's rows only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, insert, select, text
from sqlalchemy.exc import ProgrammingError

from taskapi.auth.tokens import User
from taskapi.config import Config, ConfigError
from taskapi.database.base import Base, db
from taskapi.database.unit_of_work import PURGE, SIGN_OUTS, execute, reads, rows, writes
from tests import postgres
from tests.conftest import SECRET, Person, build, empty, token
from tests.postgres import new_database

ROOT = Path(__file__).resolve().parents[2]
ALICE, MALLORY = User("alice"), User("mallory")
TABLES = Base.metadata.sorted_tables

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Flask]:
    app = build(postgresql_url, RATE_LIMIT="off")
    with app.app_context():
        yield app
        db.engine.dispose()
    empty(postgresql_url)


@pytest.fixture
def both(app: Flask) -> tuple[Person, Person]:
    """Alice and mallory, each with a row in every table."""
    people = (Person(app.test_client(), "alice"), Person(app.test_client(), "mallory"))
    for person in people:
        assert person.post(json={"title": "T"}, headers={"Idempotency-Key": "k"}).status_code == 201
        claims = {"sid": "s", "jti": "n", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}
        notice = token(person.id, headers={"typ": "logout+jwt"}, exp=int(time.time()) + 60, **claims)
        assert person.client.post("/backchannel-logout", data={"logout_token": notice}).status_code == 200
    return people


@reads
def seen(_owner: User, table: Any, job: str = "") -> set[str]:
    """Whose rows a statement without a WHERE is shown."""
    return {row.user_id for row in execute(select(table.c.user_id), job=job)}


@pytest.fixture
def owned(both: object, postgresql_url: str) -> Iterator[Connection]:
    """The database for the role that owns the tables, and has made every exception for itself that it can."""
    engine = create_engine(postgres.as_owner(postgresql_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


# What is shown


@every_table
def test_without_a_where_a_statement_is_shown_one_users_rows(both: object, table: Any):
    assert seen(ALICE, table) == {"alice"}
    assert seen(MALLORY, table) == {"mallory"}
    assert seen(User("nobody"), table) == set()


@every_table
def test_about_no_user_nothing_is_shown(both: object, table: Any):
    assert rows(select(table)) == []


@every_table
def test_the_owner_of_the_tables_is_shown_nothing_either(owned: Connection, table: Any):
    assert owned.execute(select(table)).all() == []


SHOWN_TO = {
    PURGE: {"users", "tasks", "idempotency_keys", "ended_sessions", "seen_notices"},
    SIGN_OUTS: {"ended_sessions"},
    "another": set(),
}


@every_table
@pytest.mark.parametrize("job", SHOWN_TO)
def test_a_job_is_shown_the_tables_that_it_is_about(both: object, table: Any, job: str):
    everybody = {"alice", "mallory"}
    assert {row.user_id for row in rows(select(table), job=job)} == (
        everybody if table.name in SHOWN_TO[job] else set()
    )
    assert seen(ALICE, table, job) == (everybody if table.name in SHOWN_TO[job] else {"alice"})
    assert seen(ALICE, table) == {"alice"}


@pytest.mark.parametrize("kind", [reads, writes])
def test_a_job_lasts_for_one_statement(both: object, kind: Callable[[Any], Callable[[User], Any]]):
    tasks = Base.metadata.tables["tasks"]

    @kind
    def work(_owner: User) -> list[int]:
        return [len(execute(select(tasks), job=job).all()) for job in ("", PURGE, "", PURGE, "")]

    assert work(ALICE) == [1, 2, 1, 2, 1]


# What can be written


@every_table
@pytest.mark.parametrize("job", ["", PURGE, SIGN_OUTS])
def test_without_a_where_a_write_reaches_one_users_rows(both: object, table: Any, job: str):
    @writes
    def change(_owner: User) -> tuple[int, int]:
        column = table.c.keys()[-1]
        changed = execute(table.update().values({column: table.c[column]}), job=job).rowcount
        return changed, execute(table.delete(), job=job).rowcount

    assert change(ALICE) == (1, 1)
    assert seen(MALLORY, table) == {"mallory"}


@every_table
def test_a_row_can_be_neither_added_for_nor_given_to_another(both: object, table: Any):
    values = {"user_id": "mallory-2"}

    @writes
    def add(_owner: User) -> None:
        row = execute(select(table).limit(1)).mappings().one()
        execute(insert(table).values({**row, **values}))

    @writes
    def give(_owner: User) -> None:
        execute(table.update().values(values))

    for forbidden in (add, give):
        with pytest.raises(ProgrammingError, match="row-level security"):
            forbidden(ALICE)
    assert seen(User("mallory-2"), table) == set()
    assert seen(ALICE, table) == {"alice"}


def test_the_service_can_change_neither_table_nor_policy(both: object):
    for statement in (
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY shown ON tasks",
        "CREATE POLICY mine ON tasks USING (true)",
        "TRUNCATE tasks",
        "DROP TABLE tasks",
        "CREATE TABLE loot (x int)",
        "UPDATE alembic_version SET version_num = '0001'",
        "SET ROLE taskapi_owner",
    ):

        @writes
        def work(_owner: User, statement: str = statement) -> None:
            execute(text(statement))

        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"):
            work(ALICE)


def test_one_users_work_inside_of_anothers_is_a_defect(app: Flask):
    @writes
    def outer(_owner: User, inner: Callable[[User], Any]) -> None:
        inner(MALLORY)

    for inner in (reads(lambda _owner: None), writes(lambda _owner: None)):
        with pytest.raises(RuntimeError, match="another"):
            outer(ALICE, inner)


# Until when, and at what cost


def test_the_name_does_not_outlive_the_transaction(both: tuple[Person, Person]):
    alice, _ = both
    named = text("SELECT current_setting('taskapi.user_id', true) AS id, current_setting('taskapi.job', true) AS job")

    @writes
    def job(_owner: User) -> None:
        execute(select(Base.metadata.tables["tasks"]), job=PURGE)

    for request in (
        alice.titles,
        alice.add,
        lambda: alice.get("/999"),
        lambda: alice.post(json={"title": ""}),
        lambda: rows(select(Base.metadata.tables["tasks"]), job=PURGE),
        lambda: job(ALICE),
    ):
        request()
        for isolation_level in ("AUTOCOMMIT", "READ COMMITTED"):
            with db.engine.execution_options(isolation_level=isolation_level).connect() as connection:
                assert not any(connection.execute(named).one())


def round_trips(request: Callable[[], object]) -> int:
    """How often the driver waited for the server, by its own protocol trace."""
    with db.engine.connect() as connection, tempfile.NamedTemporaryFile() as trace:
        driver: Any = connection.connection.driver_connection
        connection.rollback()
        driver.pgconn.trace(trace.fileno())
        try:
            request_on(connection, request)
        finally:
            driver.pgconn.untrace()
        return len(re.findall(rb"\tB\t\d+\tReadyForQuery", Path(trace.name).read_bytes()))


def request_on(connection: Connection, request: Callable[[], object]) -> None:
    """The pool gives the connection back that it was given last."""
    connection.close()
    request()


@pytest.mark.parametrize(
    ("method", "path", "options", "number"),
    [
        pytest.param("GET", "/1", {}, 1, id="one task"),
        # The counters and the page together.
        pytest.param("GET", "", {}, 1, id="a list"),
        pytest.param("GET", "?limit=1", {}, 1, id="a first page"),
        pytest.param("GET", "next", {}, 1, id="a page from a cursor"),
        pytest.param("GET", "", {"headers": {"If-None-Match": '"1"'}}, 2, id="a list that has changed"),
        # BEGIN, the name and both statements together; COMMIT.
        pytest.param("POST", "", {"json": {"title": "x"}}, 2, id="create"),
        pytest.param("PATCH", "/1/complete", {}, 2, id="toggle"),
        pytest.param("PATCH", "/1/complete", {"headers": {"If-Match": '"1"'}}, 2, id="toggle of a version"),
        pytest.param("PATCH", "/1/complete", {"json": {"completed": True}}, 2, id="set"),
        pytest.param("PUT", "/1", {"json": {"title": "x"}}, 2, id="update"),
        pytest.param("DELETE", "/1", {}, 2, id="delete"),
        # BEGIN, the name, the lock and the task together; the count and the task; COMMIT.
        pytest.param("PUT", "/1", {"json": {"due_date": "2026-11-21"}}, 3, id="due"),
        pytest.param("DELETE", "/1", {"headers": {"If-Match": '"1", "5"'}}, 3, id="delete one of some versions"),
    ],
)
def test_naming_the_user_costs_no_round_trip(
    both: tuple[Person, Person], method: str, path: str, options: Any, number: int
):
    alice, _ = both
    alice.add()
    alice.add()
    if path == "next":
        path = alice.get("?limit=1").headers["Link"].partition("/tasks")[2].partition(">")[0]
    alice.send(method, path.replace("/1", "/2"), **options)  # what is prepared on a connection's first use
    assert round_trips(lambda: alice.send(method, path, **options)) == number


# Who says so when it does not stand


def ready(url: str) -> tuple[int, str]:
    app = build(url)
    try:
        response = app.test_client().get("/readyz")
        return response.status_code, response.get_json().get("detail", "")
    finally:
        with app.app_context():
            db.engine.dispose()


def test_ready_as_the_role_of_the_service(postgresql_url: str):
    assert ready(postgresql_url) == (200, "")


def test_not_ready_as_a_superuser(postgresql_url: str):
    status, detail = ready(postgres.beyond_walls(postgresql_url))
    assert status == 503
    assert detail.startswith("The database role of the service is a superuser or has BYPASSRLS: ")


@pytest.fixture
def changed(postgresql_server: str, postgresql_url: str) -> Iterator[Callable[[str, str], None]]:
    """Do something as the superuser, and undo it."""
    undone: list[str] = []
    engine = create_engine(postgres.beyond_walls(postgresql_url), isolation_level="AUTOCOMMIT")

    def change(statement: str, undo: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))
        undone.append(undo)

    yield change
    with engine.connect() as connection:
        for statement in undone:
            connection.execute(text(statement))
    engine.dispose()


def test_not_ready_as_a_role_that_bypasses_the_policies(postgresql_url: str, changed: Callable[[str, str], None]):
    changed("ALTER ROLE taskapi_service BYPASSRLS", "ALTER ROLE taskapi_service NOBYPASSRLS")
    assert ready(postgresql_url)[0] == 503


@every_table
@pytest.mark.parametrize("gap", ["NO FORCE", "DISABLE"])
def test_not_ready_when_a_table_has_no_wall(
    postgresql_url: str, changed: Callable[[str, str], None], table: Any, gap: str
):
    back = {"NO FORCE": "FORCE", "DISABLE": "ENABLE"}[gap]
    changed(f"ALTER TABLE {table.name} {gap} ROW LEVEL SECURITY", f"ALTER TABLE {table.name} {back} ROW LEVEL SECURITY")
    status, detail = ready(postgresql_url)
    assert status == 503
    assert detail.startswith("A table has no row-level security, or does not force it on its owner: ")


REMOVED = (
    "CREATE POLICY removed ON tasks FOR DELETE"
    " USING (user_id = (SELECT nullif(current_setting('taskapi.user_id', true), '')))"
)
ANOTHER_POLICY = {
    "dropped": ("DROP POLICY removed ON tasks", REMOVED),
    "added": ("CREATE POLICY all_see ON tasks USING (true)", "DROP POLICY all_see ON tasks"),
}


@pytest.mark.parametrize(("there", "back"), ANOTHER_POLICY.values(), ids=ANOTHER_POLICY.keys())
def test_not_ready_when_a_policy_is_missing_or_was_added(
    postgresql_server: str, changed: Callable[[str, str], None], there: str, back: str, postgresql_url: str
):
    changed(there, back)
    status, detail = ready(postgresql_url)
    assert status == 503
    assert detail.startswith("A policy of row-level security is missing, or was added: ")


def test_one_role_for_all_is_enough_where_it_is_no_superuser(postgresql_server: str):
    """Without `MIGRATION_DATABASE_URL` the service owns its tables; FORCE holds for their owner."""
    with new_database(postgresql_server) as url:
        app = build(postgres.as_owner(url))
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code == 0, result.output
        Person(app.test_client(), "alice").add()
        with app.app_context():
            assert seen(ALICE, Base.metadata.tables["tasks"]) == {"alice"}
            assert seen(MALLORY, Base.metadata.tables["tasks"]) == set()
            db.engine.dispose()
        assert ready(postgres.as_owner(url))[0] == 200


def test_the_two_urls_name_the_same_kind_of_database():
    environ = {
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": "sqlite:////tmp/x.db",
        "MIGRATION_DATABASE_URL": "postgresql://owner@db/taskapi",
    }
    with pytest.raises(ConfigError, match="MIGRATION_DATABASE_URL is of another kind than DATABASE_URL"):
        Config.from_env(environ)


# The wall alone


def test_when_every_statement_forgets_its_owner_each_user_still_has_their_own():
    about_the_where = {"test_every_statement_names_the_owner[postgresql]"}
    assert failures("tests/test_invariants.py", "tests/tasks/trash/test_trash.py") == about_the_where


def failures(*paths: str) -> set[str]:
    """The tests of these files that fail on PostgreSQL without a WHERE (`make chaos` runs all of them so)."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "postgresql", *paths]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--basetemp", f"{folder}/pytest"],
            cwd=ROOT,
            env={**os.environ, "WITHOUT_WHERE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert re.search(r"\d\d passed", done.stdout), done.stdout[-5000:]
    return {
        line.split(" ")[1].partition("::")[2] for line in re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    }
