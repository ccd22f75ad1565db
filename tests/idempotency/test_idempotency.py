"""Idempotency-Key: a repeated request is executed once and gets the same response, also after crashes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

import taskapi.database.engine
import taskapi.database.server_timeout
import taskapi.database.transactions
from taskapi.database.base import now
from taskapi.idempotency.models import StoredResponse
from tests.conftest import Person, superuser_engine, token
from tests.gunicorn_server import Request, Server, ServerResponse, launch
from tests.waiting import WAIT_LIMIT, until

REPLAYED_HEADERS = ("Content-Type", "ETag", "Location")


def key_header(key: str = "key-1", **further: str) -> dict[str, str]:
    """Return request headers with an `Idempotency-Key` and others."""
    return {"Idempotency-Key": key, **further}


def assert_replayed(first: TestResponse, again: TestResponse) -> None:
    """Check that `again` is the replay of `first`: same status, body and headers, with `Idempotency-Replayed`."""
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert [again.headers.get(name) for name in REPLAYED_HEADERS] == [
        first.headers.get(name) for name in REPLAYED_HEADERS
    ]


def all_data(person: Person) -> list[Any]:
    """Return the list with its ETag, the trash and the delta feed of a person."""
    person_path = f"/api/{person.id}"
    headers = {"Authorization": f"Bearer {person.token}"}
    feed = person.client.get(f"{person_path}/changes", headers=headers)
    return [
        person.get().get_json(),
        person.get().headers["ETag"],
        person.get("?trash=true").get_json(),
        feed.get_json()["items"],
    ]


# Replays

WRITES: dict[str, tuple[str, str, Any]] = {
    "tasks.create": ("POST", "/tasks", {"title": "Another"}),
    "tasks.update": ("PUT", "/tasks/1", {"title": "Changed"}),
    "tasks.patch": ("PATCH", "/tasks/1", {"description": "Patched"}),
    "tasks.delete": ("DELETE", "/tasks/1", None),
    "tasks.complete": ("PATCH", "/tasks/1/complete", None),
    "tasks.restore": ("POST", "/tasks/3/restore", None),
    "tasks.move": ("POST", "/tasks/1/move", {"after": 2}),
    "data.batch": (
        "POST",
        "/tasks/batch",
        {"operations": [{"op": "create", "task": {"title": "A"}}, {"op": "delete", "id": 2}]},
    ),
    "data.import_": ("POST", "/import", {"tasks": [{"title": "Imported"}]}),
}
"""By endpoint: a request that changes something if there are three tasks, the third of them in the trash."""


def test_every_write_endpoint_is_in_the_table_of_these_tests(app: Flask) -> None:
    write_endpoints = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and (rule.methods or set()) & {"POST", "PUT", "PATCH"}
    }
    assert write_endpoints == WRITES.keys() - {"tasks.delete"}


@pytest.mark.parametrize("endpoint", WRITES)
def test_a_repeated_request_gets_the_identical_response_and_changes_nothing(alice: Person, endpoint: str) -> None:
    for title in ("One", "Two", "Three"):
        alice.add(title)
    assert alice.delete("/3").status_code == 204
    method, path, body = WRITES[endpoint]

    def send() -> TestResponse:
        options = {} if body is None else {"json": body}
        headers = {"Authorization": f"Bearer {alice.token}", **key_header()}
        return alice.client.open(f"/api/alice{path}", method=method, headers=headers, **options)

    before = all_data(alice)
    first = send()
    assert first.status_code in (200, 201, 204), first.text
    after = all_data(alice)
    assert after != before
    for _ in range(2):
        assert_replayed(first, send())
        assert all_data(alice) == after


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "", {"title": "Other"}),
        ("POST", "", None),
        ("POST", "/", {"title": "First"}),
        ("POST", "?a=b", {"title": "First"}),
        ("PUT", "/1", {"title": "First"}),
        ("PATCH", "/1", {"title": "First"}),
        ("PATCH", "/99", {"title": "First"}),
        ("DELETE", "/1", None),
    ],
    ids=["body", "no-body", "path", "query", "put", "patch", "absent", "delete"],
)
def test_a_key_with_another_request_is_422_and_changes_nothing(
    alice: Person, method: str, path: str, body: Any
) -> None:
    assert alice.post(json={"title": "First"}, headers=key_header()).status_code == 201
    before = all_data(alice)
    response = alice.send(method, path, headers=key_header(), **({} if body is None else {"json": body}))
    assert (response.status_code, response.get_json()["code"]) == (422, "key-reused")
    assert all_data(alice) == before


def test_two_users_may_use_the_same_key(alice: Person, mallory: Person) -> None:
    first = alice.post(json={"title": "Alice's"}, headers=key_header())
    other = mallory.post(json={"title": "Mallory's"}, headers=key_header())
    assert (other.status_code, other.get_json()["title"]) == (201, "Mallory's")
    assert "Idempotency-Replayed" not in other.headers
    assert_replayed(first, alice.post(json={"title": "Alice's"}, headers=key_header()))
    assert_replayed(other, mallory.post(json={"title": "Mallory's"}, headers=key_header()))


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "clé", "tab\there", "\x7f"], ids=ascii)
def test_an_invalid_key_is_400_and_changes_nothing(alice: Person, key: str) -> None:
    response = alice.post(json={"title": "T"}, headers=key_header(key))
    assert (response.status_code, response.get_json()["code"]) == (400, "bad-request")
    assert alice.titles() == []


@pytest.mark.parametrize("key", ["k", "k" * 255, '"quoted"', "!~", "%00", "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_any_visible_ascii_characters_are_a_valid_key(alice: Person, key: str) -> None:
    first = alice.post(json={"title": "T"}, headers=key_header(key))
    assert first.status_code == 201
    assert_replayed(first, alice.post(json={"title": "T"}, headers=key_header(key)))


def test_requests_without_a_key_are_all_executed(alice: Person) -> None:
    assert alice.add("T")["id"] != alice.add("T")["id"]


# Stored responses and their lifetime


def test_a_422_is_not_stored_and_the_key_can_be_used_again(alice: Person) -> None:
    assert alice.post(json={"title": ""}, headers=key_header()).status_code == 422
    assert alice.post(json={"title": "Mended"}, headers=key_header()).status_code == 201


def test_a_404_is_not_stored_and_the_key_can_be_used_again(alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    assert alice.put("/1", json={"title": "T"}, headers=key_header()).status_code == 404
    assert alice.post("/1/restore").status_code == 200
    again = alice.put("/1", json={"title": "T"}, headers=key_header())
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (200, None)


def test_a_412_is_not_stored_and_the_key_can_be_used_again(alice: Person) -> None:
    alice.add()
    assert alice.put("/1", json={"title": "T"}, headers=key_header(**{"If-Match": '"9"'})).status_code == 412
    again = alice.put("/1", json={"title": "T"}, headers=key_header(**{"If-Match": '"1"'}))
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (200, None)


def test_a_refused_batch_is_not_stored(alice: Person) -> None:
    refused = {"operations": [{"op": "create", "task": {"title": "T"}}, {"op": "delete", "id": 99}]}
    assert alice.post("/batch", json=refused, headers=key_header()).status_code == 404
    fixed = {"operations": refused["operations"][:1]}
    assert alice.post("/batch", json=fixed, headers=key_header()).status_code == 200
    assert alice.titles() == ["T"]


def test_a_replay_takes_precedence_over_404(alice: Person) -> None:
    alice.add()
    first = alice.put("/1", json={"title": "T"}, headers=key_header())
    alice.delete("/1")
    assert_replayed(first, alice.put("/1", json={"title": "T"}, headers=key_header()))


def test_a_repeated_delete_with_a_key_is_204_again(alice: Person) -> None:
    alice.add()
    first = alice.delete("/1", headers=key_header())
    assert_replayed(first, alice.delete("/1", headers=key_header()))
    assert alice.delete("/1").status_code == 404


def test_a_replay_takes_precedence_over_412(alice: Person) -> None:
    alice.add()
    headers = key_header(**{"If-Match": '"1"'})
    first = alice.patch("/1/complete", headers=headers)
    assert first.status_code == 200
    alice.put("/1", json={"title": "Changed in between"})
    assert_replayed(first, alice.patch("/1/complete", headers=headers))
    assert alice.get("/1").get_json()["title"] == "Changed in between"


def test_a_replay_takes_precedence_over_428(make_app: Callable[..., Flask]) -> None:
    alice = Person(make_app(REQUIRE_IF_MATCH="true").test_client(), "alice")
    alice.add()
    first = alice.put("/1", json={"title": "T"}, headers=key_header(**{"If-Match": "*"}))
    assert_replayed(first, alice.put("/1", json={"title": "T"}, headers=key_header()))


def age_stored_responses(app: Flask, by: timedelta) -> None:
    """Set the creation time of all stored responses to `by` ago."""
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(StoredResponse.__table__.update().values(created_at=now() - by))


def test_a_response_is_replayed_for_24_hours(app: Flask, alice: Person) -> None:
    first = alice.post(json={"title": "T"}, headers=key_header())
    age_stored_responses(app, timedelta(hours=23, minutes=59))
    assert_replayed(first, alice.post(json={"title": "T"}, headers=key_header()))
    age_stored_responses(app, timedelta(hours=24, seconds=1))
    second = alice.post(json={"title": "Anything"}, headers=key_header())
    assert (second.status_code, second.get_json()["id"]) == (201, 2)
    assert_replayed(second, alice.post(json={"title": "Anything"}, headers=key_header()))


def test_the_purge_removes_expired_keys_only(app: Flask, alice: Person, mallory: Person) -> None:
    alice.post(json={"title": "Old"}, headers=key_header("old"))
    mallory.post(json={"title": "Old"}, headers=key_header("old"))
    age_stored_responses(app, timedelta(hours=24, seconds=1))
    recent = alice.post(json={"title": "Young"}, headers=key_header("young"))
    result = app.test_cli_runner().invoke(args=["purge"])
    assert (result.exit_code, result.output) == (
        0,
        "0 tasks emptied; 0 tombstones, 2 idempotency keys, 0 ended sessions and 0 erased users removed\n",
    )
    assert_replayed(recent, alice.post(json={"title": "Young"}, headers=key_header("young")))


def test_an_erasure_deletes_the_keys(alice: Person) -> None:
    alice.post(json={"title": "T"}, headers=key_header())
    assert alice.client.delete("/api/alice", headers={"Authorization": f"Bearer {alice.token}"}).status_code == 204
    again = alice.post(json={"title": "T"}, headers=key_header())
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, None)


# Atomicity

BREAK_COMMITS = {
    "sqlite": (
        "CREATE TABLE nowhere (id INTEGER REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER commit_fails AFTER INSERT ON tasks BEGIN INSERT INTO nowhere VALUES (1), (9); END",
    ),
    "postgresql": (
        """
        CREATE FUNCTION commit_fails() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$
        """,
        """
        CREATE CONSTRAINT TRIGGER commit_fails AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION commit_fails()
        """,
    ),
}
"""Statements for a deferred constraint on new tasks that always fails at COMMIT, by dialect."""

REPAIR_COMMITS = {
    "sqlite": ("DROP TRIGGER commit_fails", "DROP TABLE nowhere"),
    "postgresql": ("DROP TRIGGER commit_fails ON tasks", "DROP FUNCTION commit_fails"),
}


@contextmanager
def failing_commits(url: str) -> Iterator[None]:
    """Context manager: make every transaction that inserts a task fail at COMMIT."""
    dialect = make_url(url).get_backend_name()
    engine = superuser_engine(url)
    with engine.begin() as connection:
        for statement in BREAK_COMMITS[dialect]:
            connection.execute(text(statement))
    yield
    with engine.begin() as connection:
        for statement in REPAIR_COMMITS[dialect]:
            connection.execute(text(statement))


def test_a_failed_commit_stores_neither_the_task_nor_the_key(app: Flask, alice: Person, database_url: str) -> None:
    with failing_commits(database_url):
        assert alice.post(json={"title": "T"}, headers=key_header()).status_code >= 500
        assert alice.titles() == []
        with app.app_context(), superuser_engine().connect() as connection:
            assert connection.execute(StoredResponse.__table__.select()).all() == []
    again = alice.post(json={"title": "T"}, headers=key_header())
    assert (again.status_code, again.get_json()["id"]) == (201, 1)
    assert "Idempotency-Replayed" not in again.headers


# Concurrent requests


@contextmanager
def blocked_writes(url: str, user: str) -> Iterator[None]:
    """Block writes of a user: lock the row of the user's counters, or take SQLite's write lock."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(make_url(url).database or "", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    engine = superuser_engine(url)
    with engine.begin() as connection:
        locked = connection.execute(text("SELECT 1 FROM users WHERE user_id = :u FOR UPDATE"), {"u": user})
        assert locked.one()
        yield


def wait_until_working(url: str) -> None:
    """Wait until a request holds the lock of its key and waits for the user's row.

    SQLite does not show waiting connections, so there it sleeps.
    """
    if url.startswith("sqlite"):
        time.sleep(0.3)
        return
    engine = superuser_engine(url)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%users%'")
    until(lambda: _scalar(engine, waiting) > 0)


def _scalar(engine: Any, statement: Any) -> Any:
    """Execute a statement on a new connection and return its single value."""
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


@pytest.fixture
def app_with_long_timeouts(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An application with timeouts of 60 s, so that blocked writes wait as long as the test needs."""
    monkeypatch.setattr(
        taskapi.database.engine, "SESSION", {**taskapi.database.engine.SESSION, "statement_timeout": "60s"}
    )
    monkeypatch.setattr(taskapi.database.transactions, "STATEMENT_TIMEOUT", 60)
    monkeypatch.setattr(taskapi.database.server_timeout, "SERVER_TIMEOUT", 60)
    return make_app()


def test_a_second_request_during_the_first_is_409_or_waits_for_it(
    app_with_long_timeouts: Flask, database_url: str
) -> None:
    alice = Person(app_with_long_timeouts.test_client(), "alice")
    alice.add("There already")

    def create() -> TestResponse:
        return Person(app_with_long_timeouts.test_client(), "alice").post(json={"title": "T"}, headers=key_header())

    with ThreadPoolExecutor(2) as pool:
        with blocked_writes(database_url, "alice"):
            first: Future[TestResponse] = pool.submit(create)
            wait_until_working(database_url)
            second: Future[TestResponse] = pool.submit(create)
            if not database_url.startswith("sqlite"):
                refused = second.result(timeout=WAIT_LIMIT)
                assert (refused.status_code, refused.get_json()["code"]) == (409, "in-flight")
                assert refused.headers["Retry-After"] == "1"
            assert not first.done()
        responses = [first.result(timeout=WAIT_LIMIT)]
        if database_url.startswith("sqlite"):
            responses.append(second.result(timeout=WAIT_LIMIT))
    responses = sorted([*responses, create()], key=lambda response: "Idempotency-Replayed" in response.headers)
    for again in responses[1:]:
        assert_replayed(responses[0], again)
    assert alice.titles() == ["T", "There already"]


def test_a_request_in_progress_does_not_affect_other_keys_and_users(
    app_with_long_timeouts: Flask, database_url: str
) -> None:
    Person(app_with_long_timeouts.test_client(), "alice").add("There already")
    with ThreadPoolExecutor(3) as pool:
        with blocked_writes(database_url, "alice"):
            work = [
                pool.submit(
                    Person(app_with_long_timeouts.test_client(), user).post,
                    json={"title": key},
                    headers=key_header(key),
                )
                for user, key in (("alice", "a"), ("alice", "b"), ("mallory", "a"))
            ]
            if not database_url.startswith("sqlite"):
                assert work[2].result(timeout=WAIT_LIMIT).status_code == 201  # a write never waits for another user
        assert [each.result(timeout=WAIT_LIMIT).status_code for each in work] == [201, 201, 201]


# Several processes and killed workers


@pytest.fixture(scope="module")
def gunicorn(database_url: str) -> Iterator[tuple[int, Server]]:
    """gunicorn with several worker processes and no rate limit: the process id of its master, and a client."""
    with launch(database_url, "wsgi:app", RATE_LIMIT="off") as (process, server):
        yield process.pid, server


@pytest.fixture(scope="module")
def master(gunicorn: tuple[int, Server]) -> int:
    """The process id of gunicorn's master."""
    return gunicorn[0]


@pytest.fixture(scope="module")
def server(gunicorn: tuple[int, Server]) -> Server:
    """A client of the gunicorn server."""
    return gunicorn[1]


CREATE = Request("POST", "", {"title": "T"}, (("Idempotency-Key", "one"),))


def tasks(server: Server, user: str) -> Any:
    """Return the user's list of tasks from the server."""
    return server.send(user, Request("GET")).json


def test_12_concurrent_creates_with_one_key_create_one_task(server: Server, app: Flask) -> None:
    for run in range(3):
        user = f"twelve-{run}"
        responses = server.race(user, [CREATE] * 12)
        made = [response for response in responses if response.status == 201]
        assert {response.status for response in responses} <= {201, 409}
        assert len({(response.body, response.headers["ETag"], response.headers["Location"]) for response in made}) == 1
        assert sum(response.headers["Idempotency-Replayed"] is None for response in made) == 1
        assert all(response.headers["Retry-After"] for response in responses if response.status == 409)
        assert len(tasks(server, user)) == 1


def kill_workers(master: int) -> None:
    """Send SIGKILL to all workers, as the OOM killer does, and wait until gunicorn has replaced them."""
    children = Path(f"/proc/{master}/task/{master}/children")
    workers = children.read_text().split()
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    until(lambda: len(set(children.read_text().split()) - set(workers)) == len(workers))


def retry_until_response(server: Server, user: str, request: Request) -> ServerResponse:
    """Send a request until the response is neither 409 nor 503, and return it."""
    deadline = time.monotonic() + WAIT_LIMIT
    while True:
        try:
            response = server.send(user, request)
        except (OSError, http.client.HTTPException):
            response = None
        if response is not None and response.status not in (409, 503):
            return response
        assert time.monotonic() < deadline, response
        time.sleep(0.1)


def send_and_hang_up(server: Server, user: str, body: bytes) -> None:
    """Send a request that creates a task, and close the connection without reading the response."""
    head = (
        f"POST /api/{user}/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(user)}\r\n"
        f"Idempotency-Key: one\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        connection.sendall(head.encode() + body)


def test_a_lost_response_is_replayed(server: Server, app: Flask) -> None:
    send_and_hang_up(server, "lost", b'{"title": "T"}')
    until(lambda: tasks(server, "lost"))
    again = server.send("lost", Request("POST", "", {"title": "T"}, CREATE.headers))
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert [again.json] == tasks(server, "lost")


def test_a_response_lost_by_a_worker_killed_after_the_commit_is_replayed(
    server: Server, master: int, app: Flask
) -> None:
    send_and_hang_up(server, "killed-after", b'{"title": "T"}')
    until(lambda: tasks(server, "killed-after"))
    kill_workers(master)
    again = retry_until_response(server, "killed-after", CREATE)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert len(tasks(server, "killed-after")) == 1


def test_a_worker_killed_before_the_commit_stores_nothing(
    server: Server, master: int, app: Flask, database_url: str
) -> None:
    assert server.send("killed", Request("POST", "", {"title": "There already"})).status == 201
    with blocked_writes(database_url, "killed"):
        send_and_hang_up(server, "killed", b'{"title": "T"}')
        wait_until_working(database_url)
        kill_workers(master)
    assert [task["title"] for task in retry_until_response(server, "killed", Request("GET")).json] == ["There already"]
    again = retry_until_response(server, "killed", CREATE)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, None)
    assert [task["title"] for task in tasks(server, "killed")] == ["T", "There already"]


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3], ids=lambda delay: f"{delay * 1000:.0f}ms")
def test_a_batch_interrupted_by_a_killed_worker_is_executed_once_by_retries(
    server: Server, master: int, app: Flask, delay: float
) -> None:
    user = f"cut-{delay}"
    operations = [{"op": "create", "task": {"title": f"Task {number}"}} for number in range(100)]
    batch = Request("POST", "/batch", {"operations": operations}, (("Idempotency-Key", "one"),))
    with ThreadPoolExecutor(1) as pool:
        interrupted = pool.submit(retry_until_response, server, user, batch)
        time.sleep(delay)
        kill_workers(master)
        assert interrupted.result().status == 200
    assert retry_until_response(server, user, batch).headers["Idempotency-Replayed"] == "true"
    assert len(tasks(server, user)) == 100
