"""Series of recurring tasks: completing one creates the next, reopening it removes the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

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

COMPLETIONS: dict[str, Callable[..., TestResponse]] = {
    "by toggling": lambda person, task, **options: person.patch(f"/{task['id']}/complete", **options),
    "by setting": lambda person, task, **options: person.patch(
        f"/{task['id']}/complete", json={"completed": True}, **options
    ),
    "by PUT": lambda person, task, **options: person.put(f"/{task['id']}", json={"completed": True}, **options),
    "by PUT of the complete task": lambda person, task, **options: person.put(
        f"/{task['id']}", json={**task, "completed": True}, **options
    ),
    "by PATCH": lambda person, task, **options: person.patch(f"/{task['id']}", json={"completed": True}, **options),
    "in a batch": lambda person, task, **options: person.post(
        "/batch", json={"operations": [{"op": "complete", "id": task["id"], "completed": True}]}, **options
    ),
    "in a batch after another operation": lambda person, task, **options: person.post(
        "/batch",
        json={
            "operations": [
                {"op": "update", "id": task["id"], "task": {"title": task["title"]}},
                {"op": "complete", "id": task["id"], "completed": True},
            ]
        },
        **options,
    ),
    "by an update in a batch": lambda person, task, **options: person.post(
        "/batch", json={"operations": [{"op": "update", "id": task["id"], "task": {"completed": True}}]}, **options
    ),
}
"""The requests that complete a task, `options` as of `Person.send`."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the time of writes to noon UTC on November 21, 2026; returns a function that sets another time."""

    def set_to(time: datetime) -> None:
        monkeypatch.setattr(queries, "now", lambda: time)

    set_to(NOON)
    return set_to


def complete(person: Person, id: int, *, completed: bool = True) -> dict[str, Any]:
    """Set `completed` of a task and return the task; the request must succeed."""
    response = person.patch(f"/{id}/complete", json={"completed": completed})
    assert response.status_code == 200, response.text
    task: dict[str, Any] = response.get_json()
    return task


def show(person: Person, id: int) -> dict[str, Any]:
    """Return a task; the request must succeed."""
    response = person.get(f"/{id}")
    assert response.status_code == 200, response.text
    task: dict[str, Any] = response.get_json()
    return task


def changes(person: Person) -> list[dict[str, Any]]:
    """Return the items of the delta feed from its start."""
    headers = {"Authorization": f"Bearer {person.token}"}
    items: list[dict[str, Any]] = person.client.get(f"/api/{person.id}/changes", headers=headers).get_json()["items"]
    return items


def total(person: Person) -> int:
    """Return the number of live tasks according to the stats, which use the counter."""
    headers = {"Authorization": f"Bearer {person.token}"}
    number: int = person.client.get(f"/api/{person.id}/stats", headers=headers).get_json()["total"]
    return number


@pytest.mark.usefixtures("clock")
class TestCompleting:
    @pytest.mark.parametrize("complete_by", COMPLETIONS.values(), ids=COMPLETIONS)
    def test_completing_creates_the_next_task_with_all_members_except_the_date(
        self, alice: Person, complete_by: Callable[..., TestResponse]
    ) -> None:
        task = alice.add(**TASK)
        assert complete_by(alice, task).status_code == 200
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

    def test_completing_returns_the_id_of_the_next_task(self, alice: Person) -> None:
        task = alice.add(**TASK)
        response = alice.patch(f"/{task['id']}/complete")
        assert response.get_json() == show(alice, 1)
        assert response.get_json()["next_task_id"] == 2
        assert response.headers["ETag"] == f'"{response.get_json()["version"]}"'

    def test_completing_is_one_transaction(self, alice: Person, app: Flask, statements: Statements) -> None:
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

    def test_completing_again_creates_no_second_next_task(self, alice: Person) -> None:
        alice.add(**TASK)
        first = complete(alice, 1)
        assert complete(alice, 1) == first
        assert alice.put("/1", json={**first, "title": "Changed"}).get_json()["next_task_id"] == 2
        assert [task["id"] for task in alice.get().get_json()] == [2, 1]

    def test_next_tasks_continue_one_series(self, alice: Person) -> None:
        alice.add(**TASK)
        for id in (1, 2, 3):
            complete(alice, id)
        tasks = alice.get("?sort=created_at").get_json()
        assert [task["due_date"] for task in tasks] == ["2026-11-20", "2026-11-27", "2026-12-04", "2026-12-11"]
        assert [task["series_id"] for task in tasks] == [1, 1, 1, 1]
        assert [task["next_task_id"] for task in tasks] == [2, 3, 4, None]

    def test_completing_a_task_without_a_rule_creates_no_task(self, alice: Person) -> None:
        alice.add(due_date="2026-11-20")
        task = complete(alice, 1)
        assert (task["series_id"], task["next_task_id"]) == (None, None)
        assert len(alice.get().get_json()) == 1

    def test_completing_uses_the_rule_that_is_sent_with_it(self, alice: Person) -> None:
        alice.add(**TASK)
        alice.put("/1", json={"completed": True, "recurrence": "FREQ=DAILY"})
        assert show(alice, 2)["recurrence"] == "FREQ=DAILY"
        assert show(alice, 2)["due_date"] == "2026-11-21"

    def test_an_update_of_a_completed_task_creates_no_next_task(self, alice: Person, clock: Any) -> None:
        alice.add(completed=True, due_date="2026-11-20")
        clock(NOON.replace(hour=13))
        for members in ({"recurrence": "FREQ=DAILY", "completed": True}, {"title": "Changed", "completed": True}):
            assert alice.put("/1", json=members).get_json()["next_task_id"] is None
        assert len(alice.get().get_json()) == 1

    def test_completing_changes_no_task_of_another_user(self, alice: Person, mallory: Person) -> None:
        mallory.add(**TASK)
        alice.add(**TASK)
        before = mallory.get().get_json()
        complete(alice, 1)
        assert mallory.get().get_json() == before

    def test_completing_with_a_stale_if_match_is_412_and_creates_no_task(self, alice: Person) -> None:
        alice.add(**TASK)
        assert alice.patch("/1/complete", headers={"If-Match": '"9"'}).status_code == 412
        assert len(alice.get().get_json()) == 1


class TestNextDate:
    @pytest.mark.parametrize(
        ("due", "rule", "expected"),
        [
            ("2026-11-20", "FREQ=DAILY", "2026-11-21"),  # today itself is allowed
            ("2026-11-21", "FREQ=DAILY", "2026-11-22"),
            ("2026-12-10", "FREQ=DAILY", "2026-12-11"),  # completed early: after the due date
            ("2020-02-29", "FREQ=YEARLY", "2028-02-29"),
            ("2016-01-01", "FREQ=DAILY;INTERVAL=2", "2026-11-22"),
            ("2026-01-31", "FREQ=MONTHLY", "2026-12-31"),
            ("2026-11-06", "FREQ=WEEKLY;INTERVAL=2", "2026-12-04"),
        ],
        ids=["today", "tomorrow", "early", "leap day", "years overdue", "31st", "interval kept"],
    )
    def test_the_next_date_is_after_the_due_date_and_not_before_today(
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
    def test_with_repeat_from_completion_the_next_date_is_computed_from_the_day_of_completion(
        self, alice: Person, clock: Any, due: str, rule: str, expected: str
    ) -> None:
        alice.add(due_date=due, recurrence=rule, repeat_from="completion")
        complete(alice, 1)
        assert show(alice, 2)["due_date"] == expected
        assert show(alice, 2)["repeat_from"] == "completion"

    @pytest.mark.parametrize(
        ("completed", "rule", "expected"),
        [
            (date(2027, 1, 31), "FREQ=MONTHLY", "2027-02-28"),
            (date(2027, 1, 29), "FREQ=MONTHLY", "2027-02-28"),
            (date(2027, 1, 28), "FREQ=MONTHLY", "2027-02-28"),
            (date(2027, 3, 31), "FREQ=MONTHLY;INTERVAL=3", "2027-06-30"),
            (date(2027, 3, 30), "FREQ=MONTHLY;BYMONTH=2,6", "2027-06-30"),
            (date(2028, 2, 29), "FREQ=YEARLY", "2029-02-28"),
            (date(2027, 1, 31), "FREQ=YEARLY", "2028-01-31"),
            (date(2027, 1, 31), "FREQ=YEARLY;BYMONTH=2", "2027-02-28"),
            (date(2027, 1, 31), "FREQ=YEARLY;INTERVAL=2;BYMONTH=2", "2027-02-28"),
            (date(2027, 3, 31), "FREQ=YEARLY;BYMONTH=2,6", "2027-06-30"),
            (date(2027, 1, 31), "FREQ=YEARLY;INTERVAL=2;BYMONTH=2,3", "2027-03-31"),
            (date(2027, 1, 31), "FREQ=MONTHLY;BYMONTHDAY=31", "2027-03-31"),
            (date(2027, 1, 31), "FREQ=DAILY", "2027-02-01"),
        ],
    )
    def test_a_completion_at_the_end_of_a_month_skips_no_shorter_month(
        self, alice: Person, clock: Any, completed: date, rule: str, expected: str
    ) -> None:
        clock(datetime(completed.year, completed.month, completed.day, 12, tzinfo=UTC))
        alice.add(due_date="2026-11-10", recurrence=rule, repeat_from="completion")
        complete(alice, 1)
        assert (show(alice, 2)["due_date"], show(alice, 2)["recurrence"]) == (expected, rule)

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("FREQ=DAILY;INTERVAL=7;BYDAY=TU", "2026-11-24"),
            ("FREQ=MONTHLY;INTERVAL=12;BYMONTH=10", "2027-10-06"),
            ("FREQ=MONTHLY;INTERVAL=6;BYMONTH=4,10;BYMONTHDAY=6", "2027-04-06"),
            ("FREQ=DAILY;INTERVAL=7;BYDAY=TU;UNTIL=20261231", None),
        ],
    )
    def test_a_rule_that_never_comes_again_from_the_completion_is_counted_from_the_due_date(
        self, alice: Person, clock: Any, rule: str, expected: str | None
    ) -> None:
        alice.add(due_date="2026-10-06", recurrence=rule, repeat_from="completion")
        following = complete(alice, 1)["next_task_id"]
        assert (following and show(alice, following)["due_date"]) == expected

    @pytest.mark.parametrize("repeat_from", ["due", "completion"])
    @pytest.mark.parametrize(
        ("zone", "today"),
        [("Pacific/Kiritimati", "2026-11-22"), ("Pacific/Pago_Pago", "2026-11-21"), ("Asia/Kathmandu", "2026-11-21")],
    )
    def test_today_is_the_date_in_the_time_zone_of_the_task(
        self, alice: Person, clock: Any, zone: str, today: str, repeat_from: str
    ) -> None:
        members = {"due_date": "2026-11-01", "due_time": "09:00", "time_zone": zone, "repeat_from": repeat_from}
        alice.add(recurrence="FREQ=DAILY", **members)
        complete(alice, 1)
        tomorrow = f"{today[:-2]}{int(today[-2:]) + 1}"
        assert show(alice, 2)["due_date"] == (today if repeat_from == "due" else tomorrow)

    def test_the_next_task_keeps_its_local_time_across_the_end_of_daylight_saving_time(
        self, alice: Person, clock: Any
    ) -> None:
        clock(datetime(2026, 10, 20, tzinfo=UTC))
        alice.add(due_date="2026-10-20", due_time="09:00", time_zone="Europe/Berlin", recurrence="FREQ=WEEKLY")
        complete(alice, 1)
        assert show(alice, 1)["due_at"] == "2026-10-20T07:00:00.000Z"
        assert show(alice, 2)["due_at"] == "2026-10-27T08:00:00.000Z"

    def test_a_task_on_the_last_possible_date_is_created_and_ends_the_series(self, alice: Person, clock: Any) -> None:
        alice.add(due_date="2999-12-30", recurrence="FREQ=DAILY")
        complete(alice, 1)
        assert show(alice, 2)["due_date"] == "2999-12-31"
        assert alice.put("/2", json=show(alice, 2)).status_code == 200
        assert complete(alice, 2)["next_task_id"] is None


MORNING_IN_AUCKLAND = datetime(2026, 11, 28, 20, tzinfo=UTC)
"""09:00 on November 29 in Auckland."""

EVENING_IN_LOS_ANGELES = datetime(2026, 11, 29, 2, tzinfo=UTC)
"""18:00 on November 28 in Los Angeles."""


class TestTimeZoneOfTheUser:
    """A recurring task with only a date is counted by the day of the task's own time zone, else of `tz`, else of UTC."""

    DAYS: dict[str, tuple[datetime, str | None, dict[str, str], str]] = {
        "Auckland": (MORNING_IN_AUCKLAND, "Pacific/Auckland", {"repeat_from": "completion"}, "2026-11-30"),
        "Auckland, late": (MORNING_IN_AUCKLAND, "Pacific/Auckland", {"due_date": "2026-11-20"}, "2026-11-29"),
        "Los Angeles": (EVENING_IN_LOS_ANGELES, "America/Los_Angeles", {"repeat_from": "completion"}, "2026-11-29"),
        "Los Angeles, late": (EVENING_IN_LOS_ANGELES, "America/Los_Angeles", {"due_date": "2026-11-20"}, "2026-11-28"),
        "no zone": (MORNING_IN_AUCKLAND, None, {"repeat_from": "completion"}, "2026-11-29"),
        "the task's own zone": (MORNING_IN_AUCKLAND, None, {"time_zone": "Pacific/Auckland"}, "2026-11-30"),
        "own zone before tz": (MORNING_IN_AUCKLAND, "UTC", {"time_zone": "Pacific/Auckland"}, "2026-11-30"),
        "a time without a zone": (MORNING_IN_AUCKLAND, "Pacific/Auckland", {"due_time": "07:00"}, "2026-11-30"),
        "the date line": (NOON, "Pacific/Kiritimati", {"due_date": "2026-11-21"}, "2026-11-22"),
    }

    @pytest.mark.parametrize("complete_by", COMPLETIONS.values(), ids=COMPLETIONS)
    def test_the_next_date_is_counted_from_the_day_in_the_zone(
        self, alice: Person, clock: Any, complete_by: Callable[..., TestResponse]
    ) -> None:
        for case, (time, zone, members, expected) in self.DAYS.items():
            clock(time)
            task = alice.add(**{"due_date": "2026-11-29", "recurrence": "FREQ=DAILY", **members})
            assert complete_by(alice, task, query_string={"tz": zone} if zone else {}).status_code == 200, case
            next_task = show(alice, show(alice, task["id"])["next_task_id"])
            assert (next_task["due_date"], next_task["due_at"]) == (expected, None), case
            assert next_task["time_zone"] == task["time_zone"], case

    @pytest.mark.parametrize("complete_by", COMPLETIONS.values(), ids=COMPLETIONS)
    @pytest.mark.parametrize("zone", ["Mars/Olympus", "europe/berlin", "+13:00", "", "localtime"])
    def test_an_unknown_zone_is_400_names_the_parameter_and_changes_nothing(
        self, alice: Person, zone: str, complete_by: Callable[..., TestResponse]
    ) -> None:
        task = alice.add(due_date="2026-11-29", recurrence="FREQ=DAILY")
        refused = complete_by(alice, task, query_string={"tz": zone})
        assert (refused.status_code, refused.get_json()["code"]) == (400, "bad-parameter")
        assert refused.get_json()["detail"].startswith("tz: Must be the IANA name")
        assert alice.get().get_json() == [task]
        assert complete_by(alice, {**task, "id": 9}, query_string={"tz": zone}).status_code in (400, 404)

    def test_tz_has_no_effect_on_a_task_that_is_not_completed_now(self, alice: Person) -> None:
        task = alice.add(due_date="2026-11-29", recurrence="FREQ=DAILY")
        assert alice.put("/1?tz=Pacific/Auckland", json={"title": task["title"]}).get_json() == task
        assert alice.patch("/1/complete?tz=Pacific/Auckland", json={"completed": False}).get_json() == task

    @pytest.mark.parametrize("complete_by", COMPLETIONS.values(), ids=COMPLETIONS)
    def test_the_same_idempotency_key_with_another_zone_is_another_request(
        self, alice: Person, complete_by: Callable[..., TestResponse]
    ) -> None:
        """The zone decides the next due date: a replay must not answer for a day that the client did not mean."""
        task, headers = alice.add(due_date="2026-11-29", recurrence="FREQ=DAILY"), {"Idempotency-Key": "k"}
        first = complete_by(alice, task, query_string={"tz": "Pacific/Auckland"}, headers=headers)
        replay = complete_by(alice, task, query_string={"tz": "Pacific/Auckland"}, headers=headers)
        assert (first.status_code, replay.status_code, replay.headers["Idempotency-Replayed"]) == (200, 200, "true")
        for other in ({}, {"tz": "America/Los_Angeles"}):
            refused = complete_by(alice, task, query_string=other, headers=headers)
            assert (refused.status_code, refused.get_json()["code"]) == (422, "key-reused")
        assert len(alice.get().get_json()) == 2

    def test_all_tasks_of_a_batch_are_counted_by_its_zone(self, alice: Person, clock: Any) -> None:
        clock(MORNING_IN_AUCKLAND)
        for members in ({}, {"time_zone": "America/Los_Angeles"}, {"time_zone": "Pacific/Auckland"}):
            alice.add(due_date="2026-11-20", recurrence="FREQ=DAILY", **members)
        operations = [{"op": "complete", "id": id, "completed": True} for id in (1, 2, 3)]
        response = alice.post("/batch?tz=Pacific/Auckland", json={"operations": operations})
        dates = [show(alice, task["next_task_id"])["due_date"] for task in response.get_json()["results"]]
        assert dates == ["2026-11-29", "2026-11-28", "2026-11-29"]


@pytest.mark.usefixtures("clock")
class TestEndOfSeries:
    def test_a_series_ends_after_count_tasks(self, alice: Person) -> None:
        alice.add(due_date="2026-11-21", recurrence="FREQ=DAILY;COUNT=3")
        for id in (1, 2, 3):
            complete(alice, id)
        assert [task["next_task_id"] for task in alice.get("?sort=created_at").get_json()] == [2, 3, None]
        assert alice.get("/4").status_code == 404

    def test_a_series_ends_at_until(self, alice: Person) -> None:
        alice.add(due_date="2026-11-21", recurrence="FREQ=DAILY;UNTIL=20261122")
        for id in (1, 2):
            complete(alice, id)
        assert [task["due_date"] for task in alice.get("?sort=created_at").get_json()] == ["2026-11-21", "2026-11-22"]

    @pytest.mark.parametrize(
        ("members", "query", "next_task"),
        [
            ({}, "?tz=America/Los_Angeles", None),
            ({"time_zone": "America/Los_Angeles"}, "", None),
            ({"due_time": "23:59", "time_zone": "America/Los_Angeles"}, "", None),
            ({"due_time": "23:59"}, "?tz=America/Los_Angeles", None),
            ({}, "", 2),
            ({"due_time": "08:00"}, "", None),
        ],
        ids=["tz", "own zone", "own zone and time", "tz and a time", "UTC", "UTC and a time"],
    )
    def test_until_in_utc_is_compared_in_the_zone_of_the_task_or_of_the_request(
        self, alice: Person, members: dict[str, str], query: str, next_task: int | None
    ) -> None:
        """The end of December 31 in Los Angeles, as calendars write it, is January 1 in UTC."""
        rule = "FREQ=DAILY;UNTIL=20270101T075959Z"
        assert alice.add(due_date="2026-12-31", recurrence=rule, **members)["recurrence"] == rule
        assert alice.patch(f"/1/complete{query}").get_json()["next_task_id"] == next_task

    def test_a_series_whose_until_has_passed_has_no_next_task(self, alice: Person) -> None:
        alice.add(due_date="2025-01-01", recurrence="FREQ=DAILY;UNTIL=20250110")
        assert complete(alice, 1)["next_task_id"] is None

    @pytest.mark.parametrize("query", ["", "?permanent=true"], ids=["into the trash", "permanently"])
    def test_deleting_the_open_task_ends_the_series(self, alice: Person, query: str) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        assert alice.delete(f"/2{query}").status_code == 204
        assert alice.get("?status=pending").get_json() == []
        complete(alice, 1, completed=False)
        complete(alice, 1)
        assert alice.get("?status=pending").get_json() == []

    @pytest.mark.parametrize("query", ["", "?permanent=true"], ids=["into the trash", "permanently"])
    def test_deleting_a_recurring_task_creates_no_next_task(self, alice: Person, query: str) -> None:
        alice.add(**TASK)
        assert alice.delete(f"/1{query}").status_code == 204
        assert alice.patch("/1/complete").status_code == 404
        assert alice.get().get_json() == []

    def test_clearing_the_rule_ends_the_series(self, alice: Person) -> None:
        alice.add(**TASK)
        alice.put("/1", json={"recurrence": None})
        assert complete(alice, 1)["next_task_id"] is None


@pytest.mark.usefixtures("clock")
class TestReopening:
    def test_reopening_removes_the_unchanged_next_task(self, alice: Person) -> None:
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

    @pytest.mark.parametrize("reopen_by", ["toggle", "put", "patch", "batch"])
    def test_reopening_by_any_request_removes_the_next_task(self, alice: Person, reopen_by: str) -> None:
        alice.add(**TASK)
        done = complete(alice, 1)
        responses = {
            "toggle": lambda: alice.patch("/1/complete"),
            "put": lambda: alice.put("/1", json={**done, "completed": False}),
            "patch": lambda: alice.patch("/1", json={"completed": False}),
            "batch": lambda: alice.post(
                "/batch", json={"operations": [{"op": "complete", "id": 1, "completed": False}]}
            ),
        }
        assert responses[reopen_by]().status_code == 200
        assert [task["id"] for task in alice.get().get_json()] == [1]

    def test_completing_after_reopening_creates_a_next_task_with_a_new_id(self, alice: Person) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        complete(alice, 1, completed=False)
        assert complete(alice, 1)["next_task_id"] == 3
        assert [task["id"] for task in alice.get().get_json()] == [3, 1]
        assert show(alice, 3)["due_date"] == "2026-11-27"

    CHANGES: dict[str, Callable[[Person], Any]] = {
        "edited": lambda alice: alice.put("/2", json={"title": "Mine"}),
        "completed": lambda alice: alice.patch("/2/complete"),
        "moved": lambda alice: alice.post("/2/move", json={"after": None}),
        "deleted and restored": lambda alice: alice.delete("/2") and alice.post("/2/restore"),
    }

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_reopening_keeps_a_changed_next_task(self, alice: Person, change: Callable[[Person], Any]) -> None:
        alice.add(**TASK)
        complete(alice, 1)
        assert change(alice).status_code == 200
        next_task = show(alice, 2)
        task = complete(alice, 1, completed=False)
        assert (task["completed"], task["next_task_id"]) == (False, 2)
        assert show(alice, 2) == next_task
        again = complete(alice, 1)
        assert again["next_task_id"] == 2
        assert show(alice, 2) == next_task

    def test_reopening_keeps_an_imported_next_task(self, alice: Person, mallory: Person) -> None:
        """The service does not know whether an imported task was changed, so it never removes one."""
        alice.add(**TASK)
        complete(alice, 1)
        alice.put("/2", json={"description": "With notes of mine"})
        tasks = [show(alice, 1), show(alice, 2)]
        headers = {"Authorization": f"Bearer {mallory.token}"}
        response = mallory.client.post("/api/mallory/import", headers=headers, json={"tasks": tasks})
        assert response.status_code == 200, response.text
        complete(mallory, 1, completed=False)
        assert show(mallory, 2)["description"] == "With notes of mine"

    def test_reopening_never_removes_a_task_of_another_series(self, alice: Person) -> None:
        alice.add("another")
        headers = {"Authorization": f"Bearer {alice.token}"}
        crafted = {"id": 2, "title": "x", "completed": True, "next_task_id": 1}
        assert alice.client.post("/api/alice/import", headers=headers, json={"tasks": [crafted]}).status_code == 200
        complete(alice, 2, completed=False)
        assert show(alice, 1)["title"] == "another"


class TestRaces:
    def test_concurrent_completions_create_one_next_task(self, app: Flask) -> None:
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

    def test_concurrent_toggles_leave_one_open_task_of_the_series(self, app: Flask) -> None:
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

    def test_a_concurrent_completion_and_deletion_keep_the_task_counter_correct(self, app: Flask) -> None:
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
        remaining = people[0].get().get_json()
        assert [task["id"] for task in remaining] == ([2] if completed == 200 else [])
        assert total(people[0]) == len(remaining)


class TestQuota:
    @pytest.fixture
    def alice_at_quota(self, make_app: Callable[..., Flask]) -> Person:
        """Alice with a quota of 3 and three tasks, the first of them recurring."""
        alice = Person(make_app(MAX_TASKS_PER_USER="3").test_client(), "alice")
        alice.add(**TASK)
        alice.add("b")
        alice.add("c")
        return alice

    @pytest.mark.parametrize("complete_by", COMPLETIONS.values(), ids=COMPLETIONS)
    def test_completing_a_recurring_task_at_the_quota_is_409_and_changes_nothing(
        self, alice_at_quota: Person, complete_by: Callable[..., TestResponse]
    ) -> None:
        before = alice_at_quota.get()
        response = complete_by(alice_at_quota, show(alice_at_quota, 1))
        assert (response.status_code, response.get_json()["code"]) == (409, "quota-exceeded")
        after = alice_at_quota.get()
        assert (after.get_json(), after.headers["ETag"]) == (before.get_json(), before.headers["ETag"])
        assert total(alice_at_quota) == 3

    def test_completing_works_after_a_deletion_and_the_refused_one_used_no_id(self, alice_at_quota: Person) -> None:
        assert alice_at_quota.patch("/1/complete").status_code == 409
        alice_at_quota.delete("/3")
        assert complete(alice_at_quota, 1)["next_task_id"] == 4

    def test_a_removed_next_task_does_not_count_toward_the_quota(self, alice_at_quota: Person) -> None:
        alice_at_quota.delete("/3")
        for _ in range(3):
            complete(alice_at_quota, 1)
            complete(alice_at_quota, 1, completed=False)
        assert alice_at_quota.post(json={"title": "the third"}).status_code == 201
        assert alice_at_quota.post(json={"title": "the fourth"}).status_code == 409

    def test_the_last_task_of_a_series_can_be_completed_at_the_quota(self, alice_at_quota: Person) -> None:
        alice_at_quota.put("/1", json={"recurrence": "FREQ=DAILY;COUNT=1"})
        assert complete(alice_at_quota, 1)["next_task_id"] is None
