"""A repeating task, from completion to completion."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from taskapi.database.base import db
from taskapi.tasks import queries
from tests.conftest import Person, Statements

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

TASK = {
    "title": "Water the plants",
    "description": "All of them",
    "priority": "high",
    "tags": ["Home", "green"],
    "due_date": "2026-11-20",
    "due_time": "18:30",
    "time_zone": "Europe/Berlin",
    "recurrence": "FREQ=WEEKLY",
}

WAYS: dict[str, Callable[[Person, dict[str, Any]], Any]] = {
    "by toggling": lambda person, task: person.patch(f"/{task['id']}/complete"),
    "by setting": lambda person, task: person.patch(f"/{task['id']}/complete", json={"completed": True}),
    "by PUT": lambda person, task: person.put(f"/{task['id']}", json={"completed": True}),
    "by PUT of all of it": lambda person, task: person.put(f"/{task['id']}", json={**task, "completed": True}),
    "by PATCH": lambda person, task: person.patch(f"/{task['id']}", json={"completed": True}),
    "in a batch": lambda person, task: person.post(
        "/batch", json={"operations": [{"op": "complete", "id": task["id"], "completed": True}]}
    ),
    "by an update in a batch": lambda person, task: person.post(
        "/batch", json={"operations": [{"op": "update", "id": task["id"], "task": {"completed": True}}]}
    ),
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the time of the writes; it is the noon of 21 November 2026 in UTC."""

    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(queries, "now", lambda: moment)

    set_to(NOON)
    return set_to


def complete(person: Person, id: int, *, completed: bool = True) -> dict[str, Any]:
    response = person.patch(f"/{id}/complete", json={"completed": completed})
    assert response.status_code == 200, response.text
    task: dict[str, Any] = response.get_json()
    return task


def show(person: Person, id: int) -> dict[str, Any]:
    response = person.get(f"/{id}")
    assert response.status_code == 200, response.text
    task: dict[str, Any] = response.get_json()
    return task


def changes(person: Person) -> list[dict[str, Any]]:
    """What the feed tells a reader who knew the first version of everything."""
    headers = {"Authorization": f"Bearer {person.token}"}
    items: list[dict[str, Any]] = person.client.get(f"/api/{person.id}/changes", headers=headers).get_json()["items"]
    return items


def total(person: Person) -> int:
    headers = {"Authorization": f"Bearer {person.token}"}
    number: int = person.client.get(f"/api/{person.id}/stats", headers=headers).get_json()["total"]
    return number


@pytest.mark.usefixtures("clock")
class TestCompleting:
    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_makes_the_next_task_once_with_everything_but_the_date(
        self, alice: Person, way: Callable[[Person, dict[str, Any]], Any]
    ) -> None:
        task = alice.add(**TASK)
        assert way(alice, task).status_code == 200
        next_task, done = alice.get().get_json()
        assert done == {
            **task,
            "completed": True,
            "completed_at": "2026-11-21T12:00:00.000Z",
            "updated_at": "2026-11-21T12:00:00.000Z",
            "version": task["version"] + 1,
            "series_id": 1,
            "next_task_id": 2,
        }
        assert next_task == {
            **task,
            "id": 2,
            "due_date": "2026-11-27",
            "due_at": "2026-11-27T17:30:00.000Z",
            "series_id": 1,
            "position": next_task["position"],
            "created_at": "2026-11-21T12:00:00.000Z",
            "updated_at": "2026-11-21T12:00:00.000Z",
            "version": task["version"] + 1,
        }
        assert next_task["position"] > done["position"]
        assert total(alice) == 2

    def test_answers_with_the_id_of_the_next_task(self, alice: Person) -> None:
        task = alice.add(**TASK)
        response = alice.patch(f"/{task['id']}/complete")
        assert response.get_json() == show(alice, 1)
        assert response.get_json()["next_task_id"] == 2
        assert response.headers["ETag"] == f'"{response.get_json()["version"]}"'

    def test_is_one_transaction(self, alice: Person, app: Flask, statements: Statements) -> None:
        task, commits = alice.add(**TASK), []
        with app.app_context():
            engine = db.engine

        def count(connection: Any) -> None:
            commits.append(connection)

        event.listen(engine, "commit", count)
        complete(alice, task["id"])
        event.remove(engine, "commit", count)
        assert len(commits) == 1
        assert all("alice" in str(parameters) for statement, parameters in statements.sent if "tasks" in statement)

    def test_again_makes_no_second(self, alice: Person) -> None:
        alice.add(**TASK)
        first = complete(alice, 1)
        assert complete(alice, 1) == first
        assert alice.put("/1", json={**first, "title": "Changed"}).get_json()["next_task_id"] == 2
        assert [task["id"] for task in alice.get().get_json()] == [2, 1]

    def test_goes_on_from_task_to_task_in_one_series(self, alice: Person) -> None:
        alice.add(**TASK)
        for id in (1, 2, 3):
            complete(alice, id)
        tasks = alice.get("?sort=created_at").get_json()
        assert [task["due_date"] for task in tasks] == ["2026-11-20", "2026-11-27", "2026-12-04", "2026-12-11"]
        assert [task["series_id"] for task in tasks] == [1, 1, 1, 1]
        assert [task["next_task_id"] for task in tasks] == [2, 3, 4, None]

    def test_a_task_that_does_not_repeat_makes_nothing(self, alice: Person) -> None:
        alice.add(due_date="2026-11-20")
        task = complete(alice, 1)
        assert (task["series_id"], task["next_task_id"]) == (None, None)
        assert len(alice.get().get_json()) == 1

    def test_takes_the_rule_that_is_sent_with_it(self, alice: Person) -> None:
        alice.add(**TASK)
        alice.put("/1", json={"completed": True, "recurrence": "FREQ=DAILY"})
        assert show(alice, 2)["recurrence"] == "FREQ=DAILY"
        assert show(alice, 2)["due_date"] == "2026-11-21"

    def test_an_edit_of_what_was_completed_before_is_no_completion(self, alice: Person, clock: Any) -> None:
        alice.add(completed=True, due_date="2026-11-20")
        clock(NOON.replace(hour=13))
        for members in ({"recurrence": "FREQ=DAILY", "completed": True}, {"title": "Changed", "completed": True}):
            assert alice.put("/1", json=members).get_json()["next_task_id"] is None
        assert len(alice.get().get_json()) == 1

    def test_of_others_is_not_touched(self, alice: Person, mallory: Person) -> None:
        mallory.add(**TASK)
        alice.add(**TASK)
        before = mallory.get().get_json()
        complete(alice, 1)
        assert mallory.get().get_json() == before

    def test_only_the_version_that_is_expected(self, alice: Person) -> None:
        alice.add(**TASK)
        assert alice.patch("/1/complete", headers={"If-Match": '"9"'}).status_code == 412
        assert len(alice.get().get_json()) == 1


class TestTheNextDate:
    @pytest.mark.parametrize(
        ("due", "rule", "expected"),
        [
            ("2026-11-20", "FREQ=DAILY", "2026-11-21"),  # today is not before today
            ("2026-11-21", "FREQ=DAILY", "2026-11-22"),
            ("2026-12-10", "FREQ=DAILY", "2026-12-11"),  # early: after the date it had
            ("2020-02-29", "FREQ=YEARLY", "2028-02-29"),
            ("2016-01-01", "FREQ=DAILY;INTERVAL=2", "2026-11-22"),
            ("2026-01-31", "FREQ=MONTHLY", "2026-12-31"),
            ("2026-11-06", "FREQ=WEEKLY;INTERVAL=2", "2026-12-04"),
        ],
        ids=["today", "tomorrow", "early", "leap day", "years overdue", "31st", "in step"],
    )
    def test_is_after_the_due_date_and_not_before_today(
        self, alice: Person, clock: Any, due: str, rule: str, expected: str
    ) -> None:
        alice.add(due_date=due, recurrence=rule)
        complete(alice, 1)
        assert show(alice, 2)["due_date"] == expected

    @pytest.mark.parametrize(
        ("due", "rule", "expected"),
        [
            ("2026-11-10", "FREQ=WEEKLY", "2026-11-28"),
            ("2026-12-24", "FREQ=WEEKLY", "2026-11-28"),
            ("2026-11-10", "FREQ=MONTHLY", "2026-12-21"),
            ("2026-11-10", "FREQ=WEEKLY;BYDAY=SA", "2026-11-28"),
        ],
        ids=["late", "early", "monthly", "the same weekday"],
    )
    def test_from_completion_is_reckoned_from_the_day_of_completion(
        self, alice: Person, clock: Any, due: str, rule: str, expected: str
    ) -> None:
        alice.add(due_date=due, recurrence=rule, repeat_from="completion")
        complete(alice, 1)
        assert show(alice, 2)["due_date"] == expected
        assert show(alice, 2)["repeat_from"] == "completion"

    @pytest.mark.parametrize("repeat_from", ["due", "completion"])
    @pytest.mark.parametrize(
        ("zone", "today"),
        [("Pacific/Kiritimati", "2026-11-22"), ("Pacific/Pago_Pago", "2026-11-21"), ("Asia/Kathmandu", "2026-11-21")],
    )
    def test_today_is_that_of_the_task_s_zone(
        self, alice: Person, clock: Any, zone: str, today: str, repeat_from: str
    ) -> None:
        members = {"due_date": "2026-11-01", "due_time": "09:00", "time_zone": zone, "repeat_from": repeat_from}
        alice.add(recurrence="FREQ=DAILY", **members)
        complete(alice, 1)
        tomorrow = f"{today[:-2]}{int(today[-2:]) + 1}"
        assert show(alice, 2)["due_date"] == (today if repeat_from == "due" else tomorrow)

    def test_keeps_the_clock_of_the_zone_over_the_change_to_winter(self, alice: Person, clock: Any) -> None:
        clock(datetime(2026, 10, 20, tzinfo=UTC))
        alice.add(due_date="2026-10-20", due_time="09:00", time_zone="Europe/Berlin", recurrence="FREQ=WEEKLY")
        complete(alice, 1)
        assert show(alice, 1)["due_at"] == "2026-10-20T07:00:00.000Z"
        assert show(alice, 2)["due_at"] == "2026-10-27T08:00:00.000Z"

    def test_on_the_last_day_there_is_can_be_reached_and_completed(self, alice: Person, clock: Any) -> None:
        alice.add(due_date="2999-12-30", recurrence="FREQ=DAILY")
        complete(alice, 1)
        assert show(alice, 2)["due_date"] == "2999-12-31"
        assert alice.put("/2", json=show(alice, 2)).status_code == 200
        assert complete(alice, 2)["next_task_id"] is None


@pytest.mark.usefixtures("clock")
class TestTheEnd:
    def test_comes_after_count_tasks(self, alice: Person) -> None:
        alice.add(due_date="2026-11-21", recurrence="FREQ=DAILY;COUNT=3")
        for id in (1, 2, 3):
            complete(alice, id)
        assert [task["next_task_id"] for task in alice.get("?sort=created_at").get_json()] == [2, 3, None]
        assert alice.get("/4").status_code == 404

    def test_comes_with_until(self, alice: Person) -> None:
        alice.add(due_date="2026-11-21", recurrence="FREQ=DAILY;UNTIL=20261122")
        for id in (1, 2):
            complete(alice, id)
        assert [task["due_date"] for task in alice.get("?sort=created_at").get_json()] == ["2026-11-21", "2026-11-22"]

    def test_comes_at_once_when_until_is_over(self, alice: Person) -> None:
        alice.add(due_date="2025-01-01", recurrence="FREQ=DAILY;UNTIL=20250110")
        assert complete(alice, 1)["next_task_id"] is None

    @pytest.mark.parametrize("query", ["", "?permanent=true"], ids=["into the trash", "for good"])
    def test_comes_with_the_deletion_of_the_open_task(self, alice: Person, query: str) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        assert alice.delete(f"/2{query}").status_code == 204
        assert alice.get("?status=pending").get_json() == []
        complete(alice, 1, completed=False)
        complete(alice, 1)
        assert alice.get("?status=pending").get_json() == []

    @pytest.mark.parametrize("query", ["", "?permanent=true"], ids=["into the trash", "for good"])
    def test_nothing_follows_a_deletion(self, alice: Person, query: str) -> None:
        alice.add(**TASK)
        assert alice.delete(f"/1{query}").status_code == 204
        assert alice.patch("/1/complete").status_code == 404
        assert alice.get().get_json() == []

    def test_comes_when_the_rule_is_cleared(self, alice: Person) -> None:
        alice.add(**TASK)
        alice.put("/1", json={"recurrence": None})
        assert complete(alice, 1)["next_task_id"] is None


@pytest.mark.usefixtures("clock")
class TestTakingBack:
    def test_removes_the_untouched_next_task(self, alice: Person) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        headers = {"Authorization": f"Bearer {alice.token}"}
        seen = alice.client.get("/api/alice/changes", headers=headers).get_json()["next"]
        task = complete(alice, 1, completed=False)
        assert (task["next_task_id"], task["completed"], task["completed_at"]) == (None, False, None)
        assert alice.get().get_json() == [task]
        assert alice.get("/2").status_code == 404
        assert alice.get("?trash=true").get_json() == []
        assert alice.post("/2/restore").status_code == 404
        items = alice.client.get(f"/api/alice/changes?since={seen}", headers=headers).get_json()["items"]
        tombstone = {"id": 2, "deleted": True, "deleted_at": "2026-11-21T12:00:00.000Z"}
        assert sorted(items, key=lambda item: item["id"]) == [task, tombstone]
        assert total(alice) == 1

    @pytest.mark.parametrize("way", ["toggle", "put", "patch", "batch"])
    def test_goes_every_way(self, alice: Person, way: str) -> None:
        alice.add(**TASK)
        done = complete(alice, 1)
        answers = {
            "toggle": lambda: alice.patch("/1/complete"),
            "put": lambda: alice.put("/1", json={**done, "completed": False}),
            "patch": lambda: alice.patch("/1", json={"completed": False}),
            "batch": lambda: alice.post(
                "/batch", json={"operations": [{"op": "complete", "id": 1, "completed": False}]}
            ),
        }
        assert answers[way]().status_code == 200
        assert [task["id"] for task in alice.get().get_json()] == [1]

    def test_and_completing_again_makes_another_with_a_new_id(self, alice: Person) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        complete(alice, 1, completed=False)
        assert complete(alice, 1)["next_task_id"] == 3
        assert [task["id"] for task in alice.get().get_json()] == [3, 1]
        assert show(alice, 3)["due_date"] == "2026-11-27"

    TOUCHES: dict[str, Callable[[Person], Any]] = {
        "edited": lambda alice: alice.put("/2", json={"title": "Mine"}),
        "completed": lambda alice: alice.patch("/2/complete"),
        "moved": lambda alice: alice.post("/2/move", json={"after": None}),
        "deleted and restored": lambda alice: alice.delete("/2") and alice.post("/2/restore"),
    }

    @pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
    def test_keeps_a_next_task_that_was_worked_on(self, alice: Person, touch: Callable[[Person], Any]) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        assert touch(alice).status_code == 200
        kept = show(alice, 2)
        task = complete(alice, 1, completed=False)
        assert (task["completed"], task["next_task_id"]) == (False, 2)
        assert show(alice, 2) == kept
        again = complete(alice, 1)
        assert again["next_task_id"] == 2
        assert show(alice, 2) == kept

    def test_keeps_what_an_import_brought(self, alice: Person, mallory: Person) -> None:
        """Whether an imported task was worked on is not known, so it is never taken back."""
        alice.add(**TASK)
        complete(alice, 1)
        alice.put("/2", json={"description": "With notes of mine"})
        tasks = [show(alice, 1), show(alice, 2)]
        headers = {"Authorization": f"Bearer {mallory.token}"}
        answer = mallory.client.post("/api/mallory/import", headers=headers, json={"tasks": tasks})
        assert answer.status_code == 200, answer.text
        complete(mallory, 1, completed=False)
        assert show(mallory, 2)["description"] == "With notes of mine"

    def test_takes_back_only_what_is_of_the_series(self, alice: Person) -> None:
        alice.add("another")
        headers = {"Authorization": f"Bearer {alice.token}"}
        crafted = {"id": 2, "title": "x", "completed": True, "next_task_id": 1}
        assert alice.client.post("/api/alice/import", headers=headers, json={"tasks": [crafted]}).status_code == 200
        complete(alice, 2, completed=False)
        assert show(alice, 1)["title"] == "another"


class TestRaces:
    def test_two_completions_make_one_next_task(self, app: Flask) -> None:
        people = [Person(app.test_client(), "alice") for _ in range(6)]
        people[0].add(**TASK)
        barrier = threading.Barrier(len(people))

        def race(person: Person) -> int:
            barrier.wait()
            return person.put("/1", json={"completed": True}).status_code

        with ThreadPoolExecutor(len(people)) as pool:
            assert list(pool.map(race, people)) == [200] * len(people)
        tasks = people[0].get().get_json()
        assert [(task["id"], task["next_task_id"]) for task in tasks] == [(2, None), (1, 2)]
        assert total(people[0]) == 2

    def test_racing_toggles_leave_one_open_task_of_the_series(self, app: Flask) -> None:
        people = [Person(app.test_client(), "alice") for _ in range(7)]
        people[0].add(**TASK)
        barrier = threading.Barrier(len(people))

        def race(person: Person) -> int:
            barrier.wait()
            return person.patch("/1/complete").status_code

        with ThreadPoolExecutor(len(people)) as pool:
            assert list(pool.map(race, people)) == [200] * len(people)
        (open_task,) = people[0].get("?status=pending").get_json()
        (done,) = people[0].get("?status=completed").get_json()
        assert done["next_task_id"] == open_task["id"]
        assert total(people[0]) == 2

    def test_a_completion_and_a_deletion_of_the_same_task_never_lose_the_count(self, app: Flask) -> None:
        people = [Person(app.test_client(), "alice") for _ in range(2)]
        people[0].add(**TASK)
        barrier = threading.Barrier(2)

        def race(person: Person) -> int:
            barrier.wait()
            if person is people[0]:
                return person.patch("/1/complete").status_code
            return person.delete("/1").status_code

        with ThreadPoolExecutor(2) as pool:
            completed, deleted = pool.map(race, people)
        assert deleted == 204
        left = people[0].get().get_json()
        assert [task["id"] for task in left] == ([2] if completed == 200 else [])
        assert total(people[0]) == len(left)


class TestTheQuota:
    @pytest.fixture
    def full(self, make_app: Callable[..., Flask]) -> Person:
        alice = Person(make_app(MAX_TASKS_PER_USER="3").test_client(), "alice")
        alice.add(**TASK)
        alice.add("b")
        alice.add("c")
        return alice

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_is_409_and_everything_stays_as_it_was(
        self, full: Person, way: Callable[[Person, dict[str, Any]], Any]
    ) -> None:
        before = full.get()
        answer = way(full, show(full, 1))
        assert (answer.status_code, answer.get_json()["code"]) == (409, "quota-exceeded")
        after = full.get()
        assert (after.get_json(), after.headers["ETag"]) == (before.get_json(), before.headers["ETag"])
        assert total(full) == 3

    def test_is_free_again_after_a_deletion_and_no_id_was_lost(self, full: Person) -> None:
        assert full.patch("/1/complete").status_code == 409
        full.delete("/3")
        assert complete(full, 1)["next_task_id"] == 4

    def test_counts_a_task_that_was_taken_back_no_longer(self, full: Person) -> None:
        full.delete("/3")
        for _ in range(3):
            complete(full, 1)
            complete(full, 1, completed=False)
        assert full.post(json={"title": "the third"}).status_code == 201
        assert full.post(json={"title": "the fourth"}).status_code == 409

    def test_does_not_stand_in_the_way_of_the_end_of_a_series(self, full: Person) -> None:
        full.put("/1", json={"recurrence": "FREQ=DAILY;COUNT=1"})
        assert complete(full, 1)["next_task_id"] is None
