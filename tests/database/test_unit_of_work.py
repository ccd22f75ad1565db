"""Writes whose COMMIT is sent with their statements, on a real PostgreSQL: failures before, in and after it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from taskapi.database import pipeline
from taskapi.database.base import db
from tests import postgres
from tests.conftest import Person, build, delete_all_rows
from tests.database.test_row_security import round_trips
from tests.relay import pieces, relay_connections

UNKNOWN = "The database was lost while the change was being saved. Read the task again before you repeat it."


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Flask]:
    app = build(postgresql_url)
    with app.app_context():
        yield app
        db.engine.dispose()
    delete_all_rows(postgresql_url)


@pytest.fixture
def alice(app: Flask) -> Person:
    """A user with task 1, whose connection has been used."""
    alice = Person(app.test_client(), "alice")
    alice.add("One")
    return alice


@pytest.fixture
def operator(postgresql_url: str) -> Iterator[Engine]:
    """Another client of the same database, as superuser."""
    engine = create_engine(postgres.as_superuser(postgresql_url), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def open_transactions() -> int:
    """Return the number of idle pooled connections that are in a transaction."""
    with closing(db.engine.raw_connection()) as pooled:
        driver: Any = pooled.dbapi_connection
        return int(driver.in_transaction)


@contextmanager
def trigger(operator: Engine, body: str, *, at_commit: bool) -> Iterator[Callable[[], int]]:
    """Run PL/pgSQL after each insertion of a task, at once or inside of COMMIT; yield the number of runs so far."""
    timing = "CONSTRAINT TRIGGER failing AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED"
    create = f"CREATE {timing if at_commit else 'TRIGGER failing AFTER INSERT ON tasks'}"
    with operator.connect() as connection:
        for statement in (
            "CREATE SEQUENCE runs",
            "GRANT USAGE ON SEQUENCE runs TO PUBLIC",
            # A sequence is not rolled back.
            f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                $$ DECLARE run bigint := nextval('runs'); BEGIN {body} RETURN NULL; END $$""",
            f"{create} FOR EACH ROW EXECUTE FUNCTION fail()",
        ):
            connection.execute(text(statement))

        def runs() -> int:
            last: int = connection.execute(text("SELECT last_value FROM runs WHERE is_called")).scalar() or 0
            return last

        try:
            yield runs
        finally:
            for statement in ("DROP TRIGGER failing ON tasks", "DROP FUNCTION fail", "DROP SEQUENCE runs"):
                connection.execute(text(statement))


@pytest.mark.parametrize("at_commit", [False, True], ids=["statement", "commit"])
def test_a_serialization_failure_is_retried_and_the_task_is_inserted_once(
    alice: Person, operator: Engine, *, at_commit: bool
):
    fail_twice = "IF run <= 2 THEN RAISE EXCEPTION 'conflict' USING ERRCODE = 'serialization_failure'; END IF;"
    with trigger(operator, fail_twice, at_commit=at_commit) as runs:
        assert alice.add("Two")["id"] == 2
        assert runs() == 3
    assert sorted(alice.titles()) == ["One", "Two"]


def test_a_statement_that_fails_leaves_no_transaction_open(alice: Person, operator: Engine):
    with trigger(operator, "RAISE EXCEPTION 'refused';", at_commit=False):
        assert alice.post(json={"title": "Two"}).status_code == 500
        assert open_transactions() == 0
    assert alice.add("Two")["id"] == 2


TERMINATE = "IF run = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;"


def test_a_connection_that_the_server_ends_before_commit_is_retried(alice: Person, operator: Engine):
    with trigger(operator, TERMINATE, at_commit=False) as runs:
        assert alice.add("Two")["id"] == 2
        assert runs() == 2
    assert sorted(alice.titles()) == ["One", "Two"]


def test_a_connection_that_the_server_ends_in_commit_is_503_with_an_unknown_outcome(alice: Person, operator: Engine):
    with trigger(operator, TERMINATE, at_commit=True) as runs:
        response = alice.post(json={"title": "Two"})
        assert runs() == 1
    assert (response.status_code, response.get_json()["detail"]) == (503, UNKNOWN)
    assert response.headers["Retry-After"] == "1"


class Relay:
    """A relay to PostgreSQL that can close its connections, or lose the next response of the server."""

    def __init__(self) -> None:
        self.url = ""
        self._clients: list[socket.socket] = []
        self.loses_response = False

    def close_connections(self) -> None:
        """Close every connection without a message, as the kernel does for a process that was killed."""
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def handle(self, client: socket.socket, server: socket.socket) -> None:
        """Relay a connection until one side closes, or a response is to be lost."""
        self._clients.append(client)
        for _, is_from_client in pieces(client, server):
            if self.loses_response and not is_from_client:
                self.loses_response = False
                return


@pytest.fixture
def relay(postgresql_url: str) -> Iterator[Relay]:
    made = Relay()
    with relay_connections(postgresql_url, made.handle) as made.url:
        yield made
    made.close_connections()


@pytest.fixture
def relayed(relay: Relay, postgresql_url: str) -> Iterator[Person]:
    """A user with task 1 of an application that is connected through the relay."""
    app = build(relay.url)
    with app.app_context():
        relayed = Person(app.test_client(), "alice")
        relayed.add("One")
        yield relayed
        db.engine.dispose()
    delete_all_rows(postgresql_url)


WRITES = {
    "create": ("POST", "", {"json": {"title": "Two"}}, ["One", "Two"]),
    "toggle": ("PATCH", "/1/complete", {}, ["One"]),
    "update": ("PUT", "/1", {"json": {"title": "Changed"}}, ["Changed"]),
    "delete": ("DELETE", "/1", {}, []),
}


@pytest.mark.parametrize(("method", "path", "options", "titles"), WRITES.values(), ids=WRITES)
def test_a_write_whose_response_is_lost_is_503_with_an_unknown_outcome_and_is_not_repeated(
    relay: Relay, relayed: Person, method: str, path: str, options: Any, titles: list[str]
):
    before = relayed.revision()
    relay.loses_response = True
    response = relayed.send(method, path, **options)
    assert (response.status_code, response.get_json()["detail"]) == (503, UNKNOWN)
    assert sorted(relayed.titles()) == titles, "the server has committed it"
    assert relayed.revision() == before + 1


@pytest.mark.parametrize(("method", "path", "options", "titles"), WRITES.values(), ids=WRITES)
def test_a_connection_that_was_closed_while_idle_is_detected_before_a_write_is_sent(
    relay: Relay, relayed: Person, method: str, path: str, options: Any, titles: list[str]
):
    relay.close_connections()
    assert relayed.send(method, path, **options).status_code in (200, 201, 204)
    assert sorted(relayed.titles()) == titles


def test_after_a_long_idle_time_commit_is_sent_once_the_server_has_responded(
    alice: Person, monkeypatch: pytest.MonkeyPatch
):
    assert round_trips(lambda: alice.patch("/1/complete")) == 1
    monkeypatch.setattr(pipeline, "MAX_IDLE", 0)
    assert round_trips(lambda: alice.patch("/1/complete")) == 2


def test_the_first_write_on_a_new_connection_takes_one_round_trip(alice: Person, monkeypatch: pytest.MonkeyPatch):
    sent: list[list[str]] = []
    run_pipeline = pipeline.TimeoutConnection.run_pipeline

    def record(connection: pipeline.TimeoutConnection, statements: Sequence[pipeline.PipelinedStatement]) -> Any:
        sent.append([statement.sql.partition(" ")[0] for statement in statements])
        return run_pipeline(connection, statements)

    monkeypatch.setattr(pipeline.TimeoutConnection, "run_pipeline", record)
    db.engine.dispose()
    alice.patch("/1/complete")
    assert sent == [["BEGIN", "SELECT", "WITH", "COMMIT"]]
