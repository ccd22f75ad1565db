"""Writes that wait on PostgreSQL, for a lock or for a synchronous standby, keep no reads from being served."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text

from taskapi.database import server_timeout, transactions, write_limits
from taskapi.database.base import db
from taskapi.database.engine import POOL_SIZE
from taskapi.database.pool import FIFOQueue
from taskapi.database.write_limits import MAX_WRITES
from tests import postgres
from tests.conftest import Person, delete_all_rows, record_statements, serving, superuser_engine
from tests.waiting import until

NOTHING_CHANGED = "The database cannot be reached. Nothing was changed; try again shortly."
OUTCOME_UNKNOWN = "The database was lost while the change was being saved. Read the task again before you repeat it."


@pytest.fixture
def app(postgresql_app: Flask) -> Flask:
    return postgresql_app


@pytest.fixture
def superuser(postgresql_url: str) -> Iterator[Engine]:
    """An engine whose statements are not in a transaction."""
    engine = create_engine(postgres.as_superuser(postgresql_url), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def value(engine: Engine, statement: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar()


def test_reads_keep_at_least_one_connection():
    assert MAX_WRITES < POOL_SIZE


def test_writes_of_many_users_that_wait_leave_connections_for_reads(app: Flask, superuser: Engine):
    people = [Person(app.test_client(), f"user-{number}") for number in range(2 * POOL_SIZE)]
    for person in people:
        person.add()
    _check_that_reads_are_served(superuser, people)


def test_writes_of_one_user_that_wait_leave_connections_for_reads(app: Flask, superuser: Engine):
    people = [Person(app.test_client(), "alice") for _ in range(2 * POOL_SIZE)]
    people[0].add()
    _check_that_reads_are_served(superuser, people)


def _check_that_reads_are_served(superuser: Engine, people: list[Person]) -> None:
    """Let writes wait for locks that another session holds; `MAX_WRITES` of them may reach the server."""
    with ThreadPoolExecutor(len(people)) as threads, superuser_engine().connect() as locking:
        locking.execute(text("SELECT 1 FROM users FOR UPDATE"))
        responses = [threads.submit(person.put, "/1", json={"title": "Changed"}) for person in people]
        locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'taskapi_service'"
        until(lambda: value(superuser, locked) == MAX_WRITES)
        until(lambda: write_limits._places.waiting == len(people) - MAX_WRITES)
        assert db.engine.pool.checkedout() == MAX_WRITES
        assert people[0].get().status_code == 200
        locking.rollback()
        assert {response.result().status_code for response in responses} == {200}
    assert db.engine.pool.checkedout() == 0


def test_a_write_that_gets_no_place_is_503_in_time_and_sends_nothing(
    app: Flask, superuser: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transactions, "STATEMENT_TIMEOUT", 0.1)
    monkeypatch.setattr(write_limits, "_places", FIFOQueue[None]())
    with record_statements(app) as statements:
        response = Person(app.test_client(), "alice").post(json={"title": "Refused"})
    assert (response.status_code, response.get_json()["detail"]) == (503, NOTHING_CHANGED)
    assert response.headers["Retry-After"] == "1"
    assert not statements.sent


@pytest.fixture
def no_standby(superuser: Engine, postgresql_url: str) -> Iterator[Flask]:
    """The service on a server whose synchronous standby is missing."""
    configure(superuser, "SET synchronous_standby_names = 'missing'")
    try:
        with serving(f"{postgresql_url}&options=-c%20synchronous_commit%3Don") as app:
            yield app
    finally:
        configure(superuser, "RESET synchronous_standby_names")
        until(lambda: not value(superuser, WAITING))
        write_limits.COMMITS.is_suspicious = False
        delete_all_rows(postgresql_url)


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def configure(superuser: Engine, setting: str) -> None:
    with superuser.connect() as connection:
        connection.execute(text(f"ALTER SYSTEM {setting}"))
        connection.execute(text("SELECT pg_reload_conf()"))


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not respond is given up after 2.2 s; a commit counts as stuck after 2 s."""
    monkeypatch.setattr(server_timeout, "SERVER_TIMEOUT", 2.2)
    monkeypatch.setattr(write_limits, "CHECK_INTERVAL", 0)


@pytest.mark.usefixtures("short_timeout")
def test_without_a_standby_one_write_is_given_up_and_the_next_are_refused_until_it_is_back(
    no_standby: Flask, superuser: Engine
):
    alice, bob = (Person(no_standby.test_client(), name) for name in ("alice", "bob"))
    response = alice.post(json={"title": "First"})
    assert (response.status_code, response.get_json()["detail"]) == (503, OUTCOME_UNKNOWN)
    with record_statements(no_standby) as statements:
        for person in (alice, bob):
            response = person.post(json={"title": "Refused"})
            assert (response.status_code, response.get_json()["detail"]) == (503, NOTHING_CHANGED)
            assert response.headers["Retry-After"] == "1"
    assert not [sql for sql, _ in statements.sent if "INSERT" in sql]
    assert value(superuser, WAITING) == 1, "refused writes must not wait on the server"
    assert alice.titles() == bob.titles() == []
    assert no_standby.test_client().get("/readyz").status_code == 200
    configure(superuser, "RESET synchronous_standby_names")
    until(lambda: value(superuser, WAITING) == 0)
    assert alice.add("Second")["id"] == 2
    assert alice.titles() == ["Second", "First"]


@pytest.mark.usefixtures("short_timeout")
def test_a_refused_write_checks_once_per_interval(no_standby: Flask, monkeypatch: pytest.MonkeyPatch):
    alice = Person(no_standby.test_client(), "alice")
    alice.post(json={"title": "First"})
    monkeypatch.setattr(write_limits, "CHECK_INTERVAL", 3600)
    monkeypatch.setattr(write_limits.COMMITS, "_checked_at", float("-inf"))
    with record_statements(no_standby) as statements:
        assert {alice.post(json={"title": "Refused"}).status_code for _ in range(5)} == {503}
    assert len([sql for sql, _ in statements.sent if "pg_stat_activity" in sql]) == 1


def test_a_write_whose_wait_for_a_standby_is_canceled_is_not_acknowledged(no_standby: Flask, superuser: Engine):
    """PostgreSQL responds to its COMMIT with success and a warning: it is committed on this server only."""
    alice = Person(no_standby.test_client(), "alice")
    with ThreadPoolExecutor(1) as thread:
        response = thread.submit(alice.post, json={"title": "Canceled"})
        until(lambda: value(superuser, WAITING) == 1)
        value(superuser, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        problem = response.result().get_json()
    assert (problem["status"], problem["detail"]) == (503, OUTCOME_UNKNOWN)
    assert alice.titles() == ["Canceled"]


def test_a_write_in_several_round_trips_is_not_acknowledged_either(no_standby: Flask, superuser: Engine):
    alice = Person(no_standby.test_client(), "alice")
    with ThreadPoolExecutor(1) as thread:
        response = thread.submit(alice.post, json={"title": "Canceled"}, headers={"Idempotency-Key": "k"})
        until(lambda: value(superuser, WAITING) == 1)
        value(superuser, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        problem = response.result().get_json()
    assert (problem["status"], problem["detail"]) == (503, OUTCOME_UNKNOWN)
