"""Erasure of all data of a user: only counters remain, so that no version and no id is reused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from taskapi.database.base import now
from taskapi.tasks.models import User
from tests.conftest import Person, superuser_engine


def test_an_erasure_leaves_only_the_counters_and_no_row_of_a_user_without_data(
    app: Flask, alice: Person, mallory: Person
) -> None:
    alice.add("Secret")
    with app.app_context(), superuser_engine().connect() as connection:
        before = connection.execute(User.__table__.select()).one()
    for person in (alice, mallory):
        assert person.data("DELETE").status_code == 204
    with app.app_context(), superuser_engine().connect() as connection:
        remaining = connection.execute(User.__table__.select()).one()
    assert remaining._asdict() == {
        "user_id": "alice",
        "revision": before.revision + 1,
        "last_task_id": 1,
        "live_tasks": 0,
        "sync_floor": 0,
        "epoch": remaining.epoch,
        "erased_at": remaining.erased_at,
        "folding": 0,
    }
    assert remaining.epoch != before.epoch
    assert mallory.get().headers["ETag"] == '"0.0"'


def test_ids_and_versions_from_before_an_erasure_are_not_reused(alice: Person) -> None:
    """Regression: `If-None-Match` gave a wrong 304, and `If-Match` overwrote a task that the client had never seen."""
    old = [alice.add(title) for title in "abc"]
    tags = [f'"{task["version"]}"' for task in old]
    alice.data("DELETE")
    new = [alice.add(title) for title in "xyz"]
    assert {task["id"] for task in new}.isdisjoint(task["id"] for task in old)
    assert {task["version"] for task in new}.isdisjoint(task["version"] for task in old)
    for task in new:
        for tag in tags:
            path = f"/{task['id']}"
            assert alice.get(path, headers={"If-None-Match": tag}).status_code == 200
            assert alice.put(path, json={"title": "lost"}, headers={"If-Match": tag}).status_code == 412
    for task in old:
        assert alice.put(f"/{task['id']}", json={"title": "lost"}, headers={"If-Match": tags[0]}).status_code == 404
    assert alice.titles() == ["z", "y", "x"]


def test_a_task_imported_after_an_erasure_keeps_its_id_and_gets_a_new_version(alice: Person) -> None:
    alice.add("a")
    document = alice.data("GET", "/export").get_json()
    tag = alice.get("/1").headers["ETag"]
    alice.data("DELETE")
    assert alice.data("POST", "/import", json=document).get_json()["created"] == 1
    assert alice.get("/1", headers={"If-None-Match": tag}).status_code == 200
    assert alice.put("/1", json={"title": "b"}, headers={"If-Match": tag}).status_code == 412


def test_after_an_erasure_stats_quota_and_delta_feed_are_empty(
    make_app: Callable[..., Flask],
) -> None:
    alice = Person(make_app(MAX_TASKS_PER_USER="2").test_client(), "alice")
    for title in "ab":
        alice.add(title)
    alice.delete("/1")
    alice.data("DELETE")
    numbers = alice.data("GET", "/stats?tz=UTC").get_json()
    assert (numbers["total"], numbers["trash"]) == (0, 0)
    feed = alice.data("GET", "/changes").get_json()
    assert (feed["items"], feed["has_more"]) == ([], False)
    made = [alice.add(title) for title in "cd"]
    assert alice.post(json={"title": "one too many"}).status_code == 409
    following = alice.data("GET", f"/changes?since={feed['next']}").get_json()
    assert following["items"] == made


def test_tasks_created_during_erasures_have_unique_ids_and_versions(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(RATE_LIMIT="off")
    alice = Person(app.test_client(), "alice")
    alice.add("before the first erasure")

    def erase() -> list[Any]:
        one = Person(app.test_client(), "alice")
        return [one.data("DELETE").status_code for _ in range(15)]

    def add() -> list[Any]:
        one = Person(app.test_client(), "alice")
        return [one.add("x") for _ in range(30)]

    with ThreadPoolExecutor(4) as pool:
        adding, erasing = [pool.submit(add) for _ in range(2)], [pool.submit(erase) for _ in range(2)]
        made = [task for each in adding for task in each.result()]
        assert {status for each in erasing for status in each.result()} == {204}
    assert {task["id"] for task in made} == set(range(2, 62))
    assert len({task["version"] for task in made}) == 60
    remaining = {task["id"] for task in alice.get().get_json()}
    assert remaining == set(range(62 - len(remaining), 62)), "exactly the tasks created after the last erasure"
    assert alice.data("GET", "/stats?tz=UTC").get_json()["total"] == len(remaining)
    assert alice.add("next")["id"] == 62


def test_a_first_task_created_during_an_erasure_exists_exactly_if_its_idempotency_key_does(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(RATE_LIMIT="off")
    for number in range(8):
        alice = Person(app.test_client(), f"alice-{number}")

        def add(alice: Person = alice) -> TestResponse:
            return alice.post(json={"title": "x"}, headers={"Idempotency-Key": "k"})

        with ThreadPoolExecutor(2) as pool:
            made, erased = pool.submit(add), pool.submit(alice.data, "DELETE")
            assert (made.result().status_code, erased.result().status_code) == (201, 204)
        has_task = alice.titles() == ["x"]
        assert ("Idempotency-Replayed" in add().headers) == has_task
        assert alice.titles() == ["x"]


# After 90 days


def purge(app: Flask) -> str:
    """Run `flask purge` and return its output."""
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    return result.output.strip()


def set_erased_days_ago(app: Flask, days: float) -> None:
    """Set the time of erasure of all erased users to this many days ago."""
    with app.app_context(), superuser_engine().begin() as connection:
        erased = update(User.__table__).where(User.erased_at.is_not(None))
        connection.execute(erased.values(erased_at=now() - timedelta(days=days)))


def users(app: Flask) -> set[str]:
    """Return the ids of the users with a row of counters."""
    with app.app_context(), superuser_engine().connect() as connection:
        return set(connection.execute(select(User.user_id)).scalars())


def test_the_purge_removes_the_counters_of_an_erased_user_after_90_days(
    app: Flask, alice: Person, mallory: Person
) -> None:
    for person in (alice, mallory):
        person.add()
    assert alice.data("DELETE").status_code == 204
    set_erased_days_ago(app, 89.9)
    assert purge(app).endswith("and 0 erased users removed")
    assert users(app) == {"alice", "mallory"}
    set_erased_days_ago(app, 90.1)
    assert purge(app).endswith("and 1 erased users removed")
    assert users(app) == {"mallory"}
    assert alice.get().headers["ETag"] == '"0.0"'
    assert alice.add()["id"] == 1


def test_the_purge_keeps_the_counters_of_an_erased_user_with_new_tasks(app: Flask, alice: Person) -> None:
    alice.add()
    alice.data("DELETE")
    alice.add("Back")
    set_erased_days_ago(app, 90.1)
    for _ in range(2):
        assert purge(app).endswith("and 0 erased users removed")
    assert alice.titles() == ["Back"]
    assert alice.add()["id"] == 3
    alice.data("DELETE")
    set_erased_days_ago(app, 89)
    assert purge(app).endswith("and 0 erased users removed")
    assert alice.add()["id"] == 4
