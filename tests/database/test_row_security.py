"""PostgreSQL row-level security: a transaction reads and writes one user's rows only, also without a WHERE."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, bindparam, create_engine, insert, select, text
from sqlalchemy.exc import ProgrammingError
from werkzeug.test import TestResponse

from taskapi.auth.tokens import User
from taskapi.config.settings import Config, ConfigError
from taskapi.database.base import Base, db
from taskapi.database.prepared import Prepared
from taskapi.database.transactions import PURGE, SIGN_OUTS, execute, reads, rows, writes
from tests import postgres
from tests.conftest import SECRET, Person, build, delete_all_rows, superuser_engine, token
from tests.every_request import send_every_request
from tests.postgres import new_database
from tests.without_where import owner_conditions_removed

ALICE, MALLORY = User("alice"), User("mallory")
TABLES = Base.metadata.sorted_tables

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture(scope="module")
def shared_app(postgresql_url: str) -> Iterator[Flask]:
    """An application for all tests: connecting, and preparing its statements, takes most of the time of a test."""
    app = build(postgresql_url, RATE_LIMIT="off")
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(shared_app: Flask, postgresql_url: str) -> Iterator[Flask]:
    with shared_app.app_context():
        yield shared_app
    delete_all_rows(postgresql_url)


@pytest.fixture
def both(app: Flask) -> tuple[Person, Person]:
    """Alice and mallory, each with a row in every table."""
    people = (Person(app.test_client(), "alice"), Person(app.test_client(), "mallory"))
    for person in people:
        assert person.post(json={"title": "T"}, headers={"Idempotency-Key": "k"}).status_code == 201
        claims = {"sid": "s", "jti": "n", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}
        logout_token = token(person.id, headers={"typ": "logout+jwt"}, exp=int(time.time()) + 60, **claims)
        assert person.client.post("/backchannel-logout", data={"logout_token": logout_token}).status_code == 200
    return people


@reads
def visible_owners(_owner: User, table: Any, job: str = "") -> set[str]:
    """Return the owners of the rows that a SELECT without WHERE returns."""
    return {row.user_id for row in execute(select(table.c.user_id), job=job)}


@pytest.fixture
def owned(both: object, postgresql_url: str) -> Iterator[Connection]:
    """A connection with the role that owns the tables."""
    engine = create_engine(postgres.as_owner(postgresql_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


# Reads


@every_table
def test_a_select_without_where_returns_one_users_rows(both: object, table: Any):
    assert visible_owners(ALICE, table) == {"alice"}
    assert visible_owners(MALLORY, table) == {"mallory"}
    assert visible_owners(User("nobody"), table) == set()


@every_table
def test_a_select_without_a_user_returns_no_rows(both: object, table: Any):
    assert rows(select(table)) == []


@every_table
def test_the_role_that_owns_the_tables_sees_no_rows(owned: Connection, table: Any):
    assert owned.execute(select(table)).all() == []


SHOWN_TO = {
    PURGE: {"users", "tasks", "idempotency_keys", "ended_sessions", "seen_notices"},
    SIGN_OUTS: {"ended_sessions"},
    "another": set(),
}


@every_table
@pytest.mark.parametrize("job", SHOWN_TO)
def test_a_job_sees_all_users_rows_of_its_tables_only(both: object, table: Any, job: str):
    all_users = {"alice", "mallory"}
    assert {row.user_id for row in rows(select(table), job=job)} == (
        all_users if table.name in SHOWN_TO[job] else set()
    )
    assert visible_owners(ALICE, table, job) == (all_users if table.name in SHOWN_TO[job] else {"alice"})
    assert visible_owners(ALICE, table) == {"alice"}


@pytest.mark.parametrize("kind", [reads, writes])
def test_a_job_lasts_for_one_statement(both: object, kind: Callable[[Any], Callable[[User], Any]]):
    tasks = Base.metadata.tables["tasks"]

    @kind
    def work(_owner: User) -> list[int]:
        return [len(execute(select(tasks), job=job).all()) for job in ("", PURGE, "", PURGE, "")]

    assert work(ALICE) == [1, 2, 1, 2, 1]


# Writes


@every_table
@pytest.mark.parametrize("job", ["", PURGE, SIGN_OUTS])
def test_an_update_and_delete_without_where_change_one_users_rows(both: object, table: Any, job: str):
    @writes
    def change(_owner: User) -> tuple[int, int]:
        column = table.c.keys()[-1]
        changed = execute(table.update().values({column: table.c[column]}), job=job).rowcount
        return changed, execute(table.delete(), job=job).rowcount

    assert change(ALICE) == (1, 1)
    assert visible_owners(MALLORY, table) == {"mallory"}


@every_table
def test_a_row_cannot_be_inserted_for_or_moved_to_another_user(both: object, table: Any):
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
    assert visible_owners(User("mallory-2"), table) == set()
    assert visible_owners(ALICE, table) == {"alice"}


def test_the_service_s_role_cannot_change_tables_and_policies(both: object):
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


def test_a_unit_of_work_for_another_user_raises_an_error(app: Flask):
    @writes
    def outer(_owner: User, inner: Callable[[User], Any]) -> None:
        inner(MALLORY)

    for inner in (reads(lambda _owner: None), writes(lambda _owner: None)):
        with pytest.raises(RuntimeError, match="another"):
            outer(ALICE, inner)


# Lifetime and cost of the settings


def test_the_row_security_settings_end_with_the_transaction(both: tuple[Person, Person]):
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
    """Return the number of round trips of a request: ReadyForQuery messages in libpq's protocol trace."""
    with db.engine.connect() as connection, tempfile.NamedTemporaryFile() as trace:
        driver: Any = connection.connection.driver_connection
        connection.rollback()
        driver.pgconn.trace(trace.fileno())
        try:
            run_with_this_connection(connection, request)
        finally:
            driver.pgconn.untrace()
        return len(re.findall(rb"\tB\t\d+\tReadyForQuery", Path(trace.name).read_bytes()))


def run_with_this_connection(connection: Connection, request: Callable[[], object]) -> None:
    """Return the connection to the pool, which has no other, and run the request."""
    connection.close()
    request()


@pytest.mark.parametrize(
    ("method", "path", "options", "number"),
    [
        pytest.param("GET", "/1", {}, 1, id="one task"),
        # The counters and the page in one pipeline.
        pytest.param("GET", "", {}, 1, id="a list"),
        pytest.param("GET", "?limit=1", {}, 1, id="a first page"),
        pytest.param("GET", "next", {}, 1, id="a page from a cursor"),
        pytest.param("GET", "", {"headers": {"If-None-Match": '"1"'}}, 2, id="a list that has changed"),
        # BEGIN, set_config, the statement and COMMIT in one pipeline.
        pytest.param("POST", "", {"json": {"title": "x"}}, 1, id="create"),
        pytest.param("PATCH", "/1/complete", {}, 1, id="toggle"),
        pytest.param("PATCH", "/1/complete", {"headers": {"If-Match": '"1"'}}, 1, id="toggle of a version"),
        pytest.param("PATCH", "/1/complete", {"json": {"completed": True}}, 1, id="set"),
        pytest.param("PUT", "/1", {"json": {"title": "x"}}, 1, id="update"),
        pytest.param("PATCH", "/1", {"json": {"title": "x"}}, 1, id="patch"),
        pytest.param("DELETE", "/1", {}, 1, id="delete"),
        # BEGIN, set_config, the lock and the task in one pipeline; the counters and the task; COMMIT.
        pytest.param("PUT", "/1", {"json": {"due_date": "2026-11-21"}}, 3, id="due"),
        pytest.param("DELETE", "/1", {"headers": {"If-Match": '"1", "5"'}}, 3, id="delete one of some versions"),
    ],
)
def test_row_security_settings_cost_no_round_trip(
    both: tuple[Person, Person], method: str, path: str, options: Any, number: int
):
    alice, _ = both
    alice.add()
    alice.add()
    if path == "next":
        path = alice.get("?limit=1").headers["Link"].partition("/tasks")[2].partition(">")[0]
    alice.send(method, path.replace("/1", "/2"), **options)  # prepares the statements on the connection
    assert round_trips(lambda: alice.send(method, path, **options)) == number


def test_a_poll_after_a_write_of_the_same_worker_takes_one_round_trip(both: tuple[Person, Person]):
    alice, _ = both
    alice.add()
    for write in (alice.add, lambda: alice.put("/1", json={"title": "y"}), lambda: alice.patch("/1/complete")):
        seen = {"If-None-Match": alice.get("").headers["ETag"]}
        write()
        assert round_trips(lambda: alice.get("", headers=seen)) == 1  # noqa: B023
        assert alice.get("", headers=seen).status_code == 200
        seen = {"If-None-Match": alice.get("").headers["ETag"]}
        assert (round_trips(lambda: alice.get("", headers=seen)), alice.get("", headers=seen).status_code) == (1, 304)  # noqa: B023


STALE = {"If-Match": '"1"'}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        pytest.param("PUT", "/9", {"json": {"title": "x"}}, 404, id="update of no task"),
        pytest.param("PUT", "/1", {"json": {"title": "x"}, "headers": STALE}, 412, id="update of another version"),
        pytest.param("PUT", "/1", {"json": {"title": "y", "tags": ["a"], "priority": "low"}}, 200, id="no change"),
        pytest.param("PATCH", "/1", {"json": {}}, 200, id="no member"),
        pytest.param("DELETE", "/9", {}, 404, id="deletion of no task"),
        pytest.param("DELETE", "/1", {"headers": STALE}, 412, id="deletion of another version"),
    ],
)
def test_a_write_without_effect_takes_two_round_trips_and_no_transaction_with_several_statements(
    both: tuple[Person, Person], method: str, path: str, options: Any, status: int
):
    """The statement that changes nothing, and the read that finds why."""
    alice, _ = both
    alice.put("/1", json={"title": "y", "tags": ["a"], "priority": "low"})
    revision = alice.revision()
    assert alice.send(method, path, **options).status_code == status
    assert round_trips(lambda: alice.send(method, path, **options)) == 2
    assert alice.revision() == revision


@pytest.mark.parametrize(
    ("query", "headers", "number"),
    [
        pytest.param("?since=end", {}, 1, id="without news"),
        pytest.param("?since=end", {"If-None-Match": "etag"}, 1, id="304"),
        # The counters and the page in one pipeline.
        pytest.param("", {}, 1, id="a first page"),
        # The token is verified with the counters before the page is read.
        pytest.param("?since=before", {}, 2, id="with news"),
    ],
)
def test_the_delta_feed_takes_one_round_trip_without_news(
    both: tuple[Person, Person], query: str, headers: dict[str, str], number: int
):
    alice, _ = both
    before = alice.data("GET", "/changes").get_json()["next"]
    alice.add()
    response = alice.data("GET", f"/changes?since={before}")
    query = query.replace("end", response.get_json()["next"]).replace("before", before)
    headers = dict.fromkeys(headers, response.headers["ETag"])
    assert round_trips(lambda: alice.data("GET", f"/changes{query}", headers=headers)) == number


# Readiness


def ready(url: str) -> tuple[int, str]:
    app = build(url)
    try:
        response = app.test_client().get("/readyz")
        return response.status_code, response.get_json().get("detail", "")
    finally:
        with app.app_context():
            db.engine.dispose()


def test_ready_with_the_service_s_role(postgresql_url: str):
    assert ready(postgresql_url) == (200, "")


def test_not_ready_with_a_superuser_role(postgresql_url: str):
    status, detail = ready(postgres.as_superuser(postgresql_url))
    assert status == 503
    assert detail.startswith("The database role of the service is a superuser or has BYPASSRLS: ")


def test_not_ready_with_a_bypassrls_role(postgresql_url: str, change: Callable[[str, str], None]):
    change("ALTER ROLE taskapi_service BYPASSRLS", "ALTER ROLE taskapi_service NOBYPASSRLS")
    assert ready(postgresql_url)[0] == 503


@every_table
@pytest.mark.parametrize("gap", ["NO FORCE", "DISABLE"])
def test_not_ready_when_a_table_does_not_force_row_security(
    postgresql_url: str, change: Callable[[str, str], None], table: Any, gap: str
):
    back = {"NO FORCE": "FORCE", "DISABLE": "ENABLE"}[gap]
    change(f"ALTER TABLE {table.name} {gap} ROW LEVEL SECURITY", f"ALTER TABLE {table.name} {back} ROW LEVEL SECURITY")
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


@pytest.mark.parametrize(("statement", "undo"), ANOTHER_POLICY.values(), ids=ANOTHER_POLICY.keys())
def test_not_ready_when_a_policy_is_missing_or_was_added(
    postgresql_server: str, change: Callable[[str, str], None], statement: str, undo: str, postgresql_url: str
):
    change(statement, undo)
    status, detail = ready(postgresql_url)
    assert status == 503
    assert detail.startswith("A policy of row-level security is missing, or was added: ")


def test_a_role_that_owns_the_tables_can_serve_unless_it_is_a_superuser(postgresql_server: str):
    """Without `MIGRATION_DATABASE_URL` the service owns its tables; FORCE applies the policies to their owner."""
    with new_database(postgresql_server) as url:
        app = build(postgres.as_owner(url))
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code == 0, result.output
        Person(app.test_client(), "alice").add()
        with app.app_context():
            assert visible_owners(ALICE, Base.metadata.tables["tasks"]) == {"alice"}
            assert visible_owners(MALLORY, Base.metadata.tables["tasks"]) == set()
            db.engine.dispose()
        assert ready(postgres.as_owner(url))[0] == 200


def test_the_migration_url_must_use_the_dialect_of_the_database_url():
    environ = {
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": "sqlite:////tmp/x.db",
        "MIGRATION_DATABASE_URL": "postgresql://owner@db/taskapi",
    }
    with pytest.raises(ConfigError, match="MIGRATION_DATABASE_URL is of another kind than DATABASE_URL"):
        Config.from_env(environ)


# Row-level security alone, without the WHERE of the statements


def test_without_owner_conditions_every_endpoint_responds_the_same_and_other_users_rows_stay(
    app: Flask, both: object, postgresql_url: str
):
    """The whole API, each statement compiled without `user_id = …`, beside two users with rows in every table."""
    before = rows_of_others()
    expected = [summary(response) for response in send_every_request(Person(FlaskClient(app), "olga"))]
    with owner_conditions_removed():
        unconditional = build(postgresql_url, RATE_LIMIT="off")
        assert "WHERE true" in str(text_of_a_prepared_statement())
        actual = [summary(response) for response in send_every_request(Person(FlaskClient(unconditional), "oleg"))]
        with unconditional.app_context():
            db.engine.dispose()
    assert "WHERE true" not in str(text_of_a_prepared_statement())
    assert actual == expected
    assert rows_of_others() == before


def rows_of_others() -> dict[str, list[Any]]:
    """Return every row of the users of `both`, as the superuser sees them."""
    with superuser_engine().connect() as connection:
        return {
            table.name: sorted(
                map(repr, connection.execute(table.select().where(table.c.user_id.in_(["alice", "mallory"]))))
            )
            for table in TABLES
        }


def text_of_a_prepared_statement() -> str:
    return Prepared(select(TABLES[0].c.user_id).where(TABLES[0].c.user_id == bindparam("owner"))).on_postgresql.sql


def summary(response: TestResponse) -> Any:
    """Return what two users' responses to the same request have in common: all but times, cursors and random ids."""
    names = sorted(response.headers.keys())
    content = stable(response.get_json()) if response.is_json and response.data else response.data.count(b"\n")
    return response.request.method, response.status_code, names, response.headers.get("X-Total-Count"), content


def stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: each if name == "title" else stable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [stable(each) for each in value]
    return str if isinstance(value, str) else value
