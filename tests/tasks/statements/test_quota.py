"""Limits of the trash and of the tombstones of a user."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from taskapi.tasks.statements import quota
from tests.conftest import Person, Statements

App = Callable[..., Flask]


@pytest.fixture
def alice(make_app: App, monkeypatch: pytest.MonkeyPatch) -> Person:
    """A user with a limit of 2 tasks, 4 in the trash and 3 tombstones, which are counted at every second id."""
    monkeypatch.setattr(quota, "CHECK_EVERY", 2)
    monkeypatch.setattr(quota, "MAX_TOMBSTONES", 3)
    return Person(make_app(MAX_TASKS_PER_USER="2").test_client(), "alice")


def fill_trash(alice: Person) -> None:
    for _ in range(5):
        alice.delete(f"/{alice.add()['id']}")


def test_with_a_full_trash_a_new_task_is_409_until_a_task_is_deleted_permanently(alice: Person) -> None:
    fill_trash(alice)
    for _ in range(2):  # a refused task takes no id, so the next one gets the same id and is checked again
        refused = alice.post(json={"title": "one too many"})
        assert (refused.status_code, refused.get_json()["code"]) == (409, "quota-exceeded")
        assert refused.get_json()["detail"] == "You may have 4 tasks in the trash. Delete some of those permanently."
    assert len(alice.titles("?trash=true")) == 5
    alice.delete("/1?permanent=true")
    assert alice.add("now it fits")["id"] == 6


def test_a_batch_and_a_completed_recurring_task_are_409_with_a_full_trash(alice: Person) -> None:
    recurring = alice.add(due_date="2026-11-30", recurrence="FREQ=DAILY")
    for _ in range(5):
        alice.delete(f"/{alice.add()['id']}")
    alice.add("uneven")
    create = {"op": "create", "task": {"title": "one too many"}}
    assert alice.post("/batch", json={"operations": [create]}).status_code == 409
    alice.delete("/7")
    assert alice.patch(f"/{recurring['id']}/complete").status_code == 409
    assert alice.get(f"/{recurring['id']}").get_json()["completed"] is False, "nothing was changed"


def test_an_import_that_would_overfill_the_trash_is_409(alice: Person) -> None:
    deleted = [{"title": "old", "id": n, "deleted_at": "2026-11-29T00:00:00Z"} for n in range(11, 16)]
    assert alice.data("POST", "/import", json={"tasks": deleted}).status_code == 409
    assert alice.data("POST", "/import", json={"tasks": deleted[:4]}).status_code == 200
    assert len(alice.titles("?trash=true")) == 4


def test_the_oldest_tombstones_over_the_limit_are_removed_and_older_sync_tokens_are_410(alice: Person) -> None:
    tokens = []
    for _ in range(5):
        task = alice.add()
        alice.delete(f"/{task['id']}?permanent=true")
        tokens.append(alice.data("GET", "/changes?since=0").get_json()["next"])
    alice.add()  # id 6 is even, so the tombstones are counted
    assert alice.data("GET", f"/changes?since={tokens[0]}").status_code == 410
    items = alice.data("GET", f"/changes?since={tokens[2]}").get_json()["items"]
    assert [(item["id"], item.get("deleted")) for item in items] == [(4, True), (5, True), (6, None)]


def test_stored_tasks_are_counted_only_at_every_nth_id(app: Flask, statements: Statements) -> None:
    alice = Person(app.test_client(), "alice")
    alice.add()
    assert not any("count(" in str(sent) for sent in statements.sent)
