"""The service behind PgBouncer 1.18, which refuses startup options and, in transaction mode, loses prepared statements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from flask import Flask
from sqlalchemy import make_url, text

from taskapi.database.engine import POOL_SIZE
from taskapi.database.transactions import rows
from taskapi.operations.health import log_readiness_problems
from tests import postgres
from tests.conftest import Person, delete_all_rows, dispose_engines, migrate, serving
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.waiting import WAIT_LIMIT

ROUNDS, USERS = 20, 6
SETTINGS = ("TimeZone", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def bouncer(postgresql_url: str) -> Iterator[Callable[..., PgBouncer]]:
    """Function that starts PgBouncer in a pool mode, in front of the migrated database."""
    with ExitStack() as running:
        yield lambda pool_mode, **settings: running.enter_context(pgbouncer(postgresql_url, pool_mode, **settings))
    delete_all_rows(postgresql_url)


def work(app: Flask, user: str) -> set[int]:
    """Send requests of each kind as a user; return the statuses."""
    person = Person(app.test_client(), user)
    statuses = set()
    for _ in range(ROUNDS):
        task = person.post(json={"title": "Buy milk"})
        path = f"/{task.get_json().get('id')}"
        responses = [task, person.get(), person.get(path), person.get("?q=milk&priority=none&sort=title")]
        responses += [person.patch(f"{path}/complete"), person.put(path, json={"title": "Milk"}), person.delete(path)]
        statuses |= {response.status_code for response in responses}
    return statuses


def settings_of_a_unit_of_work() -> dict[str, str]:
    """Return session settings as the statements of the service have them."""
    columns = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
    return dict(zip(SETTINGS, rows(text(f"SELECT {columns}"))[0], strict=True))


@pytest.mark.parametrize("ignored", ["", "options"], ids=["options are refused", "options are ignored"])
def test_in_transaction_mode_every_request_succeeds_without_a_reconnection_and_it_is_logged_once(
    bouncer: Callable[..., PgBouncer], caplog: pytest.LogCaptureFixture, ignored: str
):
    caplog.set_level(logging.INFO, "taskapi")
    pooler = bouncer("transaction", ignore_startup_parameters=ignored)
    with serving(pooler.url) as app, ThreadPoolExecutor(USERS) as pool:
        statuses = pool.map(lambda user: work(app, user), [f"user-{number}" for number in range(USERS)])
        assert set().union(*statuses) == {200, 201, 204}
        assert app.test_client().get("/readyz").status_code == 200
    assert pooler.logins() <= POOL_SIZE, f"{USERS * ROUNDS * 7} requests reconnected"
    findings = [record for record in caplog.records if "through a pooler that" in record.getMessage()]
    assert [
        (record.levelname, record.getMessage().partition(":")[0].partition(" that ")[2]) for record in findings
    ] == [
        ("INFO", f"{'ignores' if ignored else 'refuses'} startup options"),
        ("WARNING", "loses prepared statements (SQLSTATE 26000)"),
    ]
    retries = [record for record in caplog.records if "retrying" in record.getMessage()]
    assert 1 <= len(retries) <= POOL_SIZE


def test_in_session_mode_statements_stay_prepared(bouncer: Callable[..., PgBouncer], caplog: pytest.LogCaptureFixture):
    pooler = bouncer("session", default_pool_size=str(POOL_SIZE))
    with serving(pooler.url) as app:
        assert work(app, "alice") == {200, 201, 204}
        prepared = rows(text("SELECT count(*) FROM pg_prepared_statements"))[0][0]
    assert prepared > 5
    assert pooler.logins() == 1
    assert "loses prepared statements" not in caplog.text


def test_in_statement_mode_the_service_is_not_ready_and_logs_why(
    bouncer: Callable[..., PgBouncer], caplog: pytest.LogCaptureFixture
):
    with serving(bouncer("statement").url) as app:
        response = app.test_client().get("/readyz")
        log_readiness_problems(app)
    assert response.status_code == 503
    assert response.get_json()["detail"].startswith("The pooler in front of the database is in statement mode")
    assert "not ready: transaction blocks not allowed in statement pooling mode" in caplog.text
    assert "not ready: The pooler in front of the database is in statement mode" in caplog.text


def test_the_session_settings_apply_in_each_transaction_and_are_not_left_to_other_clients_of_the_pooler(
    bouncer: Callable[..., PgBouncer],
):
    pooler = bouncer("transaction", default_pool_size="1")
    with serving(pooler.url) as app:
        assert settings_of_a_unit_of_work() == {
            "TimeZone": "UTC", "statement_timeout": "5s", "idle_in_transaction_session_timeout": "5s",
        }  # fmt: skip
        assert work(app, "alice") == {200, 201, 204}
        # The only connection of the pooler to PostgreSQL is the one that the service has just used.
        with psycopg.connect(pooler.url.replace("+psycopg", ""), autocommit=True, prepare_threshold=None) as other:
            (timeout,) = other.execute("SHOW statement_timeout").fetchone() or ()
            names = [name for (name,) in other.execute("SELECT name FROM pg_prepared_statements")]
            (user,) = other.execute("SELECT current_setting('taskapi.user_id', true)").fetchone() or ()
    assert timeout == "0"
    assert not user
    assert not [name for name in names if not name.startswith("taskapi_")], "names that other clients use as well"


def test_the_operator_s_options_apply_through_a_pooler_that_refuses_them(bouncer: Callable[..., PgBouncer]):
    url = bouncer("transaction").url + "?options=-c%20statement_timeout%3D3s%20-c%20TimeZone%3DEurope/Berlin"
    with serving(url):
        found = settings_of_a_unit_of_work()
    assert (found["statement_timeout"], found["TimeZone"]) == ("3s", "UTC")


def test_times_are_utc_through_a_pooler_and_without_one_whatever_the_zone_and_style_of_the_database(
    postgresql_server: str,
):
    with postgres.new_database(postgresql_server) as url:
        migrate(url)
        with psycopg.connect(postgres.as_superuser(url).replace("+psycopg", ""), autocommit=True) as operator:
            name = make_url(url).database
            operator.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'".encode())
            operator.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'".encode())
        with pgbouncer(url, "transaction") as pooler:
            for each in (url, pooler.url):
                with serving(each) as app:
                    alice = Person(app.test_client(), "alice")
                    created = alice.add(due_date="2026-03-04")["created_at"]
                    (task, *_) = alice.get().get_json()
                    assert task["created_at"] == created
                    assert created.endswith("Z")
                    assert alice.get("?q=milk").get_json()[0] == task
                    seconds = text("SELECT extract(epoch FROM now() - CAST(:time AS timestamptz))")
                    assert 0 <= rows(seconds.bindparams(time=created))[0][0] < WAIT_LIMIT
        dispose_engines(url)


def test_the_database_is_migrated_through_a_pooler_in_transaction_mode(postgresql_server: str):
    with (
        postgres.new_database(postgresql_server) as url,
        pgbouncer(url, "transaction") as pooler,
        serving(pooler.url, MIGRATION_DATABASE_URL=postgres.as_owner(pooler.url)) as app,
    ):
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code == 0, result.output
        assert app.test_client().get("/readyz").status_code == 200
