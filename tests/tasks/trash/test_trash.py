"""The trash: deletion, restore and permanent deletion."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.conftest import Person, superuser_engine

ABSENT = "You have no task of this id."
PEOPLE = (f"person-{number}" for number in count())


@pytest.fixture
def new_person(make_app: Callable[..., Flask]) -> Callable[[], Person]:
    """Return a function that makes a new user without a rate limit, so that Hypothesis can run many examples."""
    client = make_app(RATE_LIMIT="off").test_client()
    return lambda: Person(client, next(PEOPLE))


def row(app: Flask, person: Person, id: int) -> dict[str, Any]:
    """Return the row of a task in the table."""
    query = text("SELECT * FROM tasks WHERE user_id = :user AND id = :id")
    with app.app_context(), superuser_engine().connect() as connection:
        return dict(connection.execute(query, {"user": person.id, "id": id}).mappings().one())


def counter_and_live_tasks(app: Flask, person: Person) -> tuple[int, int]:
    """Return the counter of live tasks and the number of live rows."""
    counter = text("SELECT live_tasks FROM users WHERE user_id = :user")
    live = text("SELECT count(*) FROM tasks WHERE user_id = :user AND deleted_at IS NULL")
    with app.app_context(), superuser_engine().connect() as connection:
        return tuple(connection.execute(query, {"user": person.id}).scalar_one() for query in (counter, live))


def test_a_deleted_task_is_in_the_trash_only(alice: Person) -> None:
    alice.add("Kept")
    made = alice.add("Thrown away", tags=["a"])
    response = alice.delete("/2")
    assert (response.status_code, response.data) == (204, b"")
    assert alice.get("/2").status_code == 404
    assert alice.titles() == ["Kept"]
    (trashed,) = alice.get("?trash=true").get_json()
    assert trashed["deleted_at"] is not None
    changed = {"deleted_at", "updated_at", "version"}
    assert {k: v for k, v in trashed.items() if k not in changed} == {k: v for k, v in made.items() if k not in changed}
    assert trashed["version"] == made["version"] + 1


def test_the_trash_can_be_filtered_and_paged_like_the_list(alice: Person) -> None:
    for title in ("Milk", "Bread", "Butter"):
        alice.delete(f"/{alice.add(title)['id']}")
    alice.add("Milk that is kept")
    assert alice.titles("?trash=true&q=milk") == ["Milk"]
    response = alice.get("?trash=true&limit=2&include=total")
    assert response.headers["X-Total-Count"] == "3"
    assert len(response.get_json()) == 2
    assert 'rel="next"' in response.headers["Link"]


def test_a_restored_task_is_unchanged_except_for_its_version(alice: Person) -> None:
    made = alice.add("Back", description="d", priority="high", tags=["x"], due_date="2026-12-24")
    alice.delete("/1")
    response = alice.post("/1/restore")
    assert response.status_code == 200
    restored = response.get_json()
    assert response.headers["ETag"] == f'"{restored["version"]}"' == '"3"'
    assert {**restored, "version": 1, "updated_at": ""} == {**made, "updated_at": ""}
    assert alice.get("?trash=true").get_json() == []
    assert alice.titles() == ["Back"]


def test_restoring_a_live_task_changes_nothing(alice: Person) -> None:
    made = alice.add("Here")
    before = alice.get().headers["ETag"]
    response = alice.post("/1/restore")
    assert (response.status_code, response.get_json()) == (200, made)
    assert alice.get().headers["ETag"] == before


def test_restore_with_members_is_422(alice: Person) -> None:
    alice.add("x")
    alice.delete("/1")
    response = alice.post("/1/restore", json={"title": "y"})
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["pointer"] == "/title"
    assert alice.post("/1/restore", json={}).status_code == 200


def test_a_restore_with_a_stale_if_match_is_412_with_the_task_in_the_trash(alice: Person) -> None:
    alice.add("x")
    alice.delete("/1")
    response = alice.post("/1/restore", headers={"If-Match": '"1"'})
    assert response.status_code == 412
    assert response.get_json()["current"] == alice.get("?trash=true").get_json()[0]
    assert alice.post("/1/restore", headers={"If-Match": '"2"'}).status_code == 200


def test_the_trash_does_not_count_toward_the_quota_and_a_full_quota_refuses_a_restore(
    make_app: Callable[..., Flask],
) -> None:
    alice = Person(make_app(MAX_TASKS_PER_USER="2").test_client(), "alice")
    for title in "abc":
        assert alice.post(json={"title": title}).status_code == (201 if title != "c" else 409)
    alice.delete("/1")
    assert alice.post(json={"title": "c"}).status_code == 201
    response = alice.post("/1/restore")
    assert (response.status_code, response.get_json()["code"]) == (409, "quota-exceeded")
    assert [task["id"] for task in alice.get("?trash=true").get_json()] == [1]
    # A full quota changes no other response of this endpoint.
    assert alice.post("/2/restore").status_code == 200
    assert alice.post("/99/restore").status_code == 404
    assert alice.post("/1/restore", headers={"If-Match": '"1"'}).status_code == 412
    alice.delete("/2")
    assert alice.post("/1/restore").status_code == 200


@pytest.mark.parametrize("trashed", [False, True], ids=["live", "in the trash"])
def test_permanent_deletion_leaves_a_row_without_content(app: Flask, alice: Person, *, trashed: bool) -> None:
    alice.add(
        "Secret title",
        description="secret text",
        tags=["secret"],
        priority="high",
        due_date="2026-12-24",
        due_time="10:00",
        time_zone="Europe/Berlin",
        recurrence="FREQ=DAILY",
        completed=False,
    )
    if trashed:
        alice.delete("/1")
    assert alice.delete("/1?permanent=true").status_code == 204
    remaining = row(app, alice, 1)
    assert "ecret" not in str(remaining)
    kept = {"user_id", "id", "revision", "created_revision", "created_at", "updated_at", "deleted_at", "purged_at"}
    other_columns = {name: value for name, value in remaining.items() if name not in kept and value}
    assert other_columns == {"repeat_from": "due"}
    assert remaining["deleted_at"] is not None
    assert remaining["purged_at"] is not None


def test_a_permanently_deleted_task_is_404_on_every_endpoint(alice: Person) -> None:
    alice.add("x")
    alice.add("y")
    alice.delete("/1?permanent=true")
    for response in (
        alice.get("/1"),
        alice.put("/1", json={"title": "z"}),
        alice.patch("/1", json={"title": "z"}),
        alice.patch("/1/complete"),
        alice.delete("/1"),
        alice.delete("/1?permanent=true"),
        alice.post("/1/restore"),
        alice.post("/1/move", json={"after": 2}),
        alice.post("/2/move", json={"after": 1}),
    ):
        assert (response.status_code, response.get_json()["detail"]) == (404, ABSENT), response.request.path
    assert alice.get("?trash=true").get_json() == []
    assert alice.titles() == ["y"]
    assert alice.add("z")["id"] == 3, "the id is not reused"


def test_permanent_false_moves_the_task_to_the_trash(alice: Person) -> None:
    alice.add("x")
    assert alice.delete("/1?permanent=false").status_code == 204
    assert alice.titles("?trash=true") == ["x"]


def test_a_task_in_the_trash_cannot_be_changed_or_deleted_again(alice: Person) -> None:
    alice.add("x")
    alice.delete("/1")
    before = alice.get("?trash=true").get_json()
    assert alice.delete("/1").status_code == 404
    assert alice.put("/1", json={"title": "y"}).status_code == 404
    assert alice.patch("/1/complete", json={"completed": True}).status_code == 404
    assert alice.post("/1/move", json={"before": None}).status_code == 404
    assert alice.get("?trash=true").get_json() == before


BAD = "?permanent=perhaps"
UNKNOWN = "?forever=1"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/9{BAD}", {"If-Match": '"7"'}, 404),
        (f"/9{UNKNOWN}", {"If-Match": '"7"'}, 404),
        (f"/2{BAD}", {}, 404),
        ("/9", {}, 404),
        (f"/1{BAD}", {}, 428),
        (f"/1{BAD}", {"If-Match": '"7"'}, 412),
        (f"/1{UNKNOWN}", {"If-Match": '"7"'}, 412),
        ("/1?permanent=true", {"If-Match": '"7"'}, 412),
        ("/2?permanent=true", {"If-Match": '"7"'}, 412),
        (f"/1{BAD}", {"If-Match": '"1"'}, 400),
        (f"/1{UNKNOWN}", {"If-Match": "*"}, 400),
        ("/1?permanent=true&permanent=true", {"If-Match": "*"}, 400),
        ("/1?permanent=true", {"If-Match": '"1"'}, 204),
        ("/2?permanent=true", {"If-Match": '"3"'}, 204),
    ],
)
def test_delete_checks_404_then_428_then_412_then_400(
    make_app: Callable[..., Flask], path: str, headers: dict[str, str], status: int
) -> None:
    alice = Person(make_app(REQUIRE_IF_MATCH="true").test_client(), "alice")
    alice.add("one")
    alice.add("two")
    alice.delete("/2", headers={"If-Match": "*"})
    response = alice.delete(path, headers=headers)
    assert response.status_code == status
    if status != 204:
        assert (alice.titles(), alice.titles("?trash=true")) == (["one"], ["two"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/1"), ("DELETE", "/1?permanent=true"), ("POST", "/1/restore"), ("GET", "?trash=true")],
    ids=lambda value: value,
)
def test_mallory_cannot_read_or_change_the_trash_of_alice(
    alice: Person, mallory: Person, method: str, path: str
) -> None:
    alice.add("hers")
    alice.delete("/1")
    alice.add("hers too")
    mallory.add("his")
    before = (alice.get().get_json(), alice.get("?trash=true").get_json())
    assert mallory.send(method, path, of="alice").status_code == 403
    own = mallory.send(method, path)
    assert b"hers" not in own.data
    assert (alice.get().get_json(), alice.get("?trash=true").get_json()) == before


def delete_and_restore_in_batch(alice: Person, id: int) -> None:
    """Send a batch that creates a task, and deletes and restores task `id`."""
    delete, restore = {"op": "delete", "id": id}, {"op": "restore", "id": id}
    create = {"op": "create", "task": {"title": "y"}}
    alice.post("/batch", json={"operations": [create, delete, restore, {**restore, "id": id + 1}]})


ACTIONS: dict[str, Callable[[Person, int], object]] = {
    "add": lambda alice, _: alice.add("x"),
    "repeat": lambda alice, _: alice.add("x", due_date="2026-01-01", recurrence="FREQ=DAILY"),
    "delete": lambda alice, task: alice.delete(f"/{task}"),
    "destroy": lambda alice, task: alice.delete(f"/{task}?permanent=true"),
    "restore": lambda alice, task: alice.post(f"/{task}/restore"),
    "done": lambda alice, task: alice.patch(f"/{task}/complete", json={"completed": True}),
    "undone": lambda alice, task: alice.patch(f"/{task}/complete", json={"completed": False}),
    "flip": lambda alice, task: alice.patch(f"/{task}/complete"),
    "batch": delete_and_restore_in_batch,
}


@settings(
    max_examples=8,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions=st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(1, 5)), min_size=5, max_size=12))
def test_the_live_tasks_counter_equals_the_number_of_live_tasks_after_any_actions(
    new_person: Callable[[], Person], actions: list[tuple[str, int]]
) -> None:
    alice = new_person()
    alice.add("first")
    for action, id in actions:
        ACTIONS[action](alice, id)
        counter, live = counter_and_live_tasks(alice.client.application, alice)
        assert counter == live, f"after {action} {id}"
