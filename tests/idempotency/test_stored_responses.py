"""Stored responses of idempotency keys: limits, and no data of permanently deleted tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from taskapi.auth.tokens import User
from taskapi.database import chunks
from taskapi.database.base import db, now
from taskapi.database.transactions import execute, writes
from taskapi.database.unit_of_work import UnitOfWork
from taskapi.http.fields.time import rfc3339
from taskapi.idempotency import claims, queries
from taskapi.idempotency.models import StoredResponse, Usage
from tests.conftest import Person, Statements, superuser_engine
from tests.idempotency.test_idempotency import age_stored_responses, assert_replayed, key_header
from tests.imports import as_stored

DAY = 24 * 60 * 60

SECRET = "the-secret-of-this-task"


def stored_bytes(app: Flask) -> list[int]:
    """Return the length of each stored body, oldest first."""
    query = select(func.length(StoredResponse.body)).order_by(StoredResponse.created_at, StoredResponse.key)
    with app.app_context(), superuser_engine().connect() as connection:
        return list(connection.execute(query).scalars())


def usage(app: Flask) -> list[tuple[Any, ...]]:
    """Return all rows of the usage table: (user id, keys, bytes)."""
    with app.app_context(), superuser_engine().connect() as connection:
        return [tuple(row) for row in connection.execute(select(Usage.__table__).order_by(Usage.user_id))]


def tables_containing(app: Flask, content: str) -> set[str]:
    """Return the names of the tables that contain the text in any column."""
    with app.app_context(), superuser_engine().connect() as connection:
        return {
            table.name
            for table in db.metadata.sorted_tables
            for row in connection.execute(table.select())
            if any(content in (str(value, "utf-8") if isinstance(value, bytes) else str(value)) for value in row)
        }


def run_purge(app: Flask) -> None:
    """Run `flask purge`."""
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output


def batch(person: Person, *operations: Any, key: str = "batch") -> TestResponse:
    """Send a batch with an `Idempotency-Key`."""
    return person.post("/batch", json={"operations": operations}, headers=key_header(key))


def complete_operations(*ids: int) -> list[dict[str, Any]]:
    """Return batch operations that complete these tasks."""
    return [{"op": "complete", "id": id, "completed": True} for id in ids]


# Responses of batches and imports


def test_of_a_batch_response_only_the_ids_of_tasks_are_stored(app: Flask, alice: Person) -> None:
    made = [{"op": "create", "task": {"title": "T", "description": "é" * 10_000}} for _ in range(15)]
    assert alice.post("/batch", json={"operations": made}).status_code == 200
    response = batch(alice, *complete_operations(*range(1, 16)))
    assert len(response.data) > 300_000
    assert sum(stored_bytes(app)) < 1_000
    assert_replayed(response, batch(alice, *complete_operations(*range(1, 16))))


def test_a_replayed_batch_has_the_current_tasks_and_null_for_permanently_deleted_ones(alice: Person) -> None:
    for title in ("One", "Two", "Three", "Four"):
        alice.add(title)
    operations = [*complete_operations(1, 2, 3), {"op": "delete", "id": 4}]
    first = batch(alice, *operations)
    alice.put("/1", json={"title": "One, changed"})
    alice.delete("/2")
    alice.delete("/3?permanent=true")
    tag = alice.get().headers["ETag"]
    again = batch(alice, *operations)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    one, two, three, four = again.get_json()["results"]
    assert one == alice.get("/1").get_json()
    assert (two["id"], two["deleted_at"] is None) == (2, False)
    assert (three, four) == (None, None)
    assert [task and task["id"] for task in first.get_json()["results"]] == [1, 2, 3, None]
    assert alice.get().headers["ETag"] == tag, "nothing was carried out again"


def test_an_import_is_replayed_with_its_counts(app: Flask, alice: Person) -> None:
    tasks = {"tasks": [{"title": SECRET, "id": 7}, {"title": "New"}]}
    first = alice.data("POST", "/import", json=tasks, headers=key_header())
    assert tables_containing(app, SECRET) == {"tasks"}
    alice.delete("/7?permanent=true")
    assert_replayed(first, alice.data("POST", "/import", json=tasks, headers=key_header()))


# Byte limit


def test_over_the_byte_limit_of_a_user_a_replay_is_rebuilt_from_the_current_task(
    app: Flask, alice: Person, mallory: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_COPIED_BYTES", 5_000)
    members = {"title": "T", "description": "x" * 1_000}
    first = [alice.post(json=members, headers=key_header(f"key-{number}")) for number in range(10)]
    assert [response.status_code for response in first] == [201] * 10
    assert sum(stored_bytes(app)) <= 5_000
    assert stored_bytes(app)[-1] == 0
    assert usage(app) == [("alice", 10, sum(stored_bytes(app)))]
    for number, response in enumerate(first):
        assert_replayed(response, alice.post(json=members, headers=key_header(f"key-{number}")))
    changed = alice.put("/10", json={"title": "Changed"})
    again = alice.post(json=members, headers=key_header("key-9"))
    assert (again.status_code, again.get_json()) == (201, changed.get_json())
    assert (again.headers["ETag"], again.headers["Location"]) == (changed.headers["ETag"], "/api/alice/tasks/10")
    assert len(alice.titles()) == 10
    complete = mallory.post(json=members, headers=key_header())
    mallory.put("/1", json={"title": "Changed"})
    assert_replayed(complete, mallory.post(json=members, headers=key_header()))


def test_a_reduced_response_over_the_byte_limit_of_a_user_is_429(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_BODY_BYTES", 100)
    created = {"op": "create", "task": {"title": "T"}}
    assert batch(alice, *[created] * 5, key="first").status_code == 200
    refused = batch(alice, *[created] * 5, key="second")
    assert (refused.status_code, refused.get_json()["code"]) == (429, "too-many-keys")
    assert len(alice.titles()) == 5
    assert len(stored_bytes(app)) == 1


# Key limit and usage


def test_over_the_key_limit_of_a_user_a_new_key_is_429_until_the_oldest_expires(
    app: Flask, alice: Person, mallory: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_KEYS", 3)
    first = [alice.post(json={"title": "T"}, headers=key_header(f"key-{number}")) for number in range(3)]
    before = alice.get().headers["ETag"]
    refused = alice.post(json={"title": "One too many"}, headers=key_header("key-3"))
    assert (refused.status_code, refused.get_json()["code"]) == (429, "too-many-keys")
    assert DAY - 60 < int(refused.headers["Retry-After"]) <= DAY
    assert alice.get().headers["ETag"] == before
    for number, response in enumerate(first):
        assert_replayed(response, alice.post(json={"title": "T"}, headers=key_header(f"key-{number}")))
    assert mallory.post(json={"title": "T"}, headers=key_header()).status_code == 201
    assert alice.post(json={"title": "Without a key"}).status_code == 201
    age_stored_responses(app, timedelta(hours=24, seconds=1))
    assert alice.post(json={"title": "The next day"}, headers=key_header("key-3")).status_code == 201
    assert usage(app)[0][:2] == ("alice", 1)


def test_the_statements_of_a_request_do_not_depend_on_the_number_of_stored_keys(
    alice: Person, statements: Statements
) -> None:
    costs = []
    for number in range(40):
        statements.clear()
        assert alice.post(json={"title": "T"}, headers=key_header(f"key-{number}")).status_code == 201
        costs.append(len(statements))
        assert not [sql for sql, _ in statements.sent if "count(" in sql or "sum(" in sql]
    assert set(costs[1:]) == {costs[1]}


def test_an_expired_key_that_is_used_again_is_counted_once(app: Flask, alice: Person) -> None:
    alice.post(json={"title": "T"}, headers=key_header())
    age_stored_responses(app, timedelta(hours=25))
    alice.post(json={"title": "T"}, headers=key_header())
    assert usage(app)[0][:2] == ("alice", 1)


def test_the_purge_subtracts_expired_keys_and_bytes_from_the_usage(app: Flask, alice: Person, mallory: Person) -> None:
    for person in (alice, mallory):
        person.post(json={"title": "Old"}, headers=key_header("old"))
    age_stored_responses(app, timedelta(hours=25))
    alice.post(json={"title": "Young"}, headers=key_header("young"))
    run_purge(app)
    assert usage(app) == [("alice", 1, *stored_bytes(app))]


def test_expired_keys_are_removed_in_chunks(app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 2)
    for number in range(5):
        alice.post(json={"title": "Old"}, headers=key_header(f"old-{number}"))
    age_stored_responses(app, timedelta(hours=25))
    alice.post(json={"title": "Young"}, headers=key_header("young"))
    commits: list[str] = []
    commit = UnitOfWork.commit
    monkeypatch.setattr(UnitOfWork, "commit", lambda unit: commits.append("") or commit(unit))
    with app.app_context():
        assert queries.purge(User("alice")) == 5
    assert len(commits) == 3, "chunks of 2, 2 and 1"
    assert usage(app) == [("alice", 1, *stored_bytes(app))]


def test_the_purge_counts_keys_that_the_previous_release_has_stored(app: Flask, alice: Person) -> None:
    for key in ("old", "young"):
        alice.post(json={"title": "T"}, headers=key_header(key))
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(Usage.__table__.delete())
        old = StoredResponse.__table__.update().where(StoredResponse.key == "old")
        connection.execute(old.values(created_at=now() - timedelta(hours=25)))
    run_purge(app)
    assert usage(app) == [("alice", 1, *stored_bytes(app))]


def test_a_response_that_the_previous_release_has_stored_is_replayed(app: Flask, alice: Person) -> None:
    """Such a row has no task id, and the complete body, also of a batch."""
    one = alice.post(json={"title": "T"}, headers=key_header())
    several = batch(alice, *complete_operations(1))
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(Usage.__table__.delete())
        connection.execute(StoredResponse.__table__.update().values(task_id=None, is_reduced=False))
        complete = StoredResponse.__table__.update().where(StoredResponse.key == "batch")
        connection.execute(complete.values(body=several.data))
    alice.put("/1", json={"title": "Changed"})
    assert_replayed(one, alice.post(json={"title": "T"}, headers=key_header()))
    assert_replayed(several, batch(alice, *complete_operations(1)))


# Permanently deleted tasks


def delete_permanently(alice: Person) -> None:
    """Delete task 1 permanently."""
    alice.delete("/1?permanent=true")


def delete_permanently_from_the_trash(alice: Person) -> None:
    """Move task 1 to the trash, then delete it permanently."""
    alice.delete("/1")
    alice.delete("/1?permanent=true")


def delete_permanently_with_a_key(alice: Person) -> None:
    """Delete task 1 permanently by a request with an `Idempotency-Key`."""
    assert alice.delete("/1?permanent=true", headers=key_header("deletion")).status_code == 204


def empty_the_trash(alice: Person) -> None:
    """Import the task as deleted 31 days ago, and run the purge, which deletes it permanently."""
    task = {"id": 1, "title": SECRET, "deleted_at": rfc3339(now() - timedelta(days=31))}
    assert alice.data("POST", "/import", json={"tasks": as_stored(alice, task)}).status_code == 200
    run_purge(alice.client.application)


@pytest.mark.parametrize(
    "delete",
    [delete_permanently, delete_permanently_from_the_trash, delete_permanently_with_a_key, empty_the_trash],
    ids=lambda delete: delete.__name__,
)
def test_no_stored_response_contains_a_permanently_deleted_task(
    app: Flask, alice: Person, delete: Callable[[Person], None]
) -> None:
    requests: list[tuple[str, str, Any]] = [
        ("POST", "", {"title": SECRET}),
        ("PUT", "/1", {"description": SECRET}),
        ("PATCH", "/1", {"tags": [SECRET]}),
        ("PATCH", "/1/complete", {"completed": True}),
        ("POST", "/1/move", {"before": None}),
        ("POST", "/batch", {"operations": [{"op": "update", "id": 1, "task": {"title": SECRET}}]}),
    ]

    def send(number: int) -> TestResponse:
        method, path, members = requests[number]
        return alice.send(method, path, json=members, headers=key_header(f"key-{number}"))

    assert {send(number).status_code for number in range(len(requests))} <= {200, 201}
    assert tables_containing(app, SECRET) == {"tasks", "idempotency_keys"}
    delete(alice)
    assert tables_containing(app, SECRET) == set()
    tag = alice.get().headers["ETag"]
    for number in range(5):
        again = send(number)
        assert (again.status_code, again.get_json()["code"]) == (410, "task-deleted")
        assert again.headers["Idempotency-Replayed"] == "true"
    assert send(5).get_json() == {"results": [None]}
    assert alice.get().headers["ETag"] == tag, "nothing was carried out again"


def test_no_stored_response_contains_a_removed_next_task(app: Flask, alice: Person) -> None:
    alice.add(SECRET, due_date="2900-01-01", recurrence="FREQ=DAILY")
    alice.patch("/1/complete", json={"completed": True})
    unchanged = alice.put("/2", json={"title": SECRET}, headers=key_header())
    assert (unchanged.status_code, unchanged.get_json()["version"]) == (200, 2)
    alice.patch("/1/complete", json={"completed": False})
    assert alice.get("/2").status_code == 404
    alice.delete("/1?permanent=true")
    assert tables_containing(app, SECRET) == set()
    assert alice.put("/2", json={"title": SECRET}, headers=key_header()).status_code == 410


def test_a_response_with_a_task_that_is_now_in_the_trash_is_replayed_unchanged(alice: Person) -> None:
    first = alice.post(json={"title": "T"}, headers=key_header())
    alice.delete("/1")
    assert_replayed(first, alice.post(json={"title": "T"}, headers=key_header()))


def test_a_permanent_deletion_keeps_the_stored_responses_of_other_tasks(alice: Person, mallory: Person) -> None:
    first = [alice.post(json={"title": title}, headers=key_header(title)) for title in ("One", "Two")]
    other = mallory.post(json={"title": "One"}, headers=key_header("One"))
    alice.delete("/1?permanent=true")
    assert_replayed(first[1], alice.post(json={"title": "Two"}, headers=key_header("Two")))
    assert_replayed(other, mallory.post(json={"title": "One"}, headers=key_header("One")))


def test_the_lock_timeout_of_a_claim_ends_with_its_statements(app: Flask, alice: Person) -> None:
    """An operator's own lock_timeout applies to the rest of the transaction."""
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("SQLite has no locks but the one of its writers")
    found = []

    @writes
    def work(user: User) -> None:
        claims.claim(user, "key", "fingerprint")
        found.append(execute(text("SHOW lock_timeout")).scalar_one())

    with app.app_context():
        work(User("alice"))
    assert found == ["0"]


def test_a_key_that_has_expired_is_claimed_again_and_counted_once(app: Flask, alice: Person) -> None:
    alice.post(json={"title": "First"}, headers=key_header())
    age_stored_responses(app, timedelta(hours=25))
    again = alice.post(json={"title": "Second"}, headers=key_header())
    assert (again.status_code, "Idempotency-Replayed" in again.headers) == (201, False)
    assert [row[:2] for row in usage(app)] == [("alice", 1)]
    assert alice.titles() == ["Second", "First"]
