"""GET /stats: the counts equal those computed from the lists of tasks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import Person, Statements

EMPTY = {
    **dict.fromkeys(("total", "pending", "completed", "overdue", "due_today", "trash"), 0),
    "by_priority": {"none": 0, "low": 0, "medium": 0, "high": 0},
}


def stats(person: Person, query: str = "", *, of: str | None = None) -> Any:
    """Request the stats of a user, by default of the person."""
    return person.client.get(
        f"/api/{of or person.id}/stats{query}", headers={"Authorization": f"Bearer {person.token}"}
    )


def expected_stats(live: list[dict[str, Any]], trash: list[dict[str, Any]], zone: str, now: datetime) -> dict[str, Any]:
    """Compute the stats from the lists of live tasks and of the trash, for a time zone and a current time."""
    local = now.astimezone(ZoneInfo(zone))

    def instant(task: dict[str, Any]) -> datetime | None:
        return datetime.fromisoformat(task["due_at"]) if task["due_at"] else None

    def overdue(task: dict[str, Any]) -> bool:
        if task["completed"] or not task["due_date"]:
            return False
        if at := instant(task):
            return at < now
        day = date.fromisoformat(task["due_date"])
        return day < local.date() or (
            day == local.date() and bool(task["due_time"]) and task["due_time"] < f"{local:%H:%M}"
        )

    def today(task: dict[str, Any]) -> bool:
        if task["completed"] or not task["due_date"]:
            return False
        if at := instant(task):
            return at.astimezone(ZoneInfo(zone)).date() == local.date()
        return date.fromisoformat(task["due_date"]) == local.date()

    return {
        "total": len(live),
        "pending": sum(not task["completed"] for task in live),
        "completed": sum(task["completed"] for task in live),
        "overdue": sum(map(overdue, live)),
        "due_today": sum(map(today, live)),
        "trash": len(trash),
        "by_priority": {word: sum(task["priority"] == word for task in live) for word in EMPTY["by_priority"]},
    }


def random_operations(draw: random.Random, number: int) -> Iterator[dict[str, Any]]:
    """Yield batch operations that create tasks with random status, priority and due members."""
    today = datetime.now(UTC).date()
    for _ in range(number):
        task: dict[str, Any] = {"title": "t", "completed": draw.random() < 0.3}
        task["priority"] = draw.choice(["none", "low", "medium", "high"])
        if draw.random() < 0.85:
            task["due_date"] = (today + timedelta(days=draw.choice([-400, -2, -1, 0, 0, 0, 1, 2, 40]))).isoformat()
            if draw.random() < 0.7:
                task["due_time"] = f"{draw.randrange(24):02}:{draw.randrange(60):02}"
                if draw.random() < 0.6:
                    task["time_zone"] = draw.choice(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"])
        yield {"op": "create", "task": task}


@pytest.mark.parametrize("seed", range(3))
def test_stats_equal_counts_computed_from_the_lists(alice: Person, mallory: Person, seed: int) -> None:
    draw = random.Random(seed)
    assert alice.post("/batch", json={"operations": list(random_operations(draw, 100))}).status_code == 200
    mallory.post("/batch", json={"operations": list(random_operations(draw, 20))})
    deletions = [{"op": "delete", "id": id} for id in draw.sample(range(1, 101), 12)]
    alice.post("/batch", json={"operations": deletions})
    for deletion in deletions[:4]:
        alice.delete(f"/{deletion['id']}?permanent=true")
    live, trash = alice.get().get_json(), alice.get("?trash=true").get_json()
    for zone in ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"):
        times = [datetime.now(UTC)]
        response = stats(alice, f"?tz={zone}")
        times.append(datetime.now(UTC))
        assert response.status_code == 200
        assert response.get_json() in [expected_stats(live, trash, zone, now) for now in times]
        overdue = alice.get(f"?overdue=true&tz={zone}").get_json()
        assert abs(len(overdue) - response.get_json()["overdue"]) <= 1, (
            "the list agrees, unless a minute has passed in between"
        )


def test_stats_without_tasks_are_0(alice: Person) -> None:
    assert stats(alice).get_json() == EMPTY
    alice.add("x", priority="high")
    alice.delete("/1?permanent=true")
    assert stats(alice).get_json() == EMPTY


def test_due_today_and_overdue_use_the_requested_time_zone(alice: Person) -> None:
    # These two time zones differ by 25 hours, so their dates always differ.
    ahead, behind = "Pacific/Kiritimati", "Pacific/Pago_Pago"
    alice.add("there", due_date=datetime.now(ZoneInfo(behind)).date().isoformat())
    numbers = {zone: stats(alice, f"?tz={zone}").get_json() for zone in (ahead, behind)}
    assert (numbers[behind]["due_today"], numbers[behind]["overdue"]) == (1, 0)
    assert (numbers[ahead]["due_today"], numbers[ahead]["overdue"]) == (0, 1)


@pytest.mark.parametrize("query", ["?tz=Mars/Olympus", "?tz=", "?tz=UTC&tz=UTC", "?zone=UTC", "?tz=../etc/passwd"])
def test_an_invalid_or_unknown_parameter_is_400(alice: Person, query: str) -> None:
    assert stats(alice, query).status_code == 400


def test_stats_take_one_statement(alice: Person, statements: Statements) -> None:
    alice.add("x")
    statements.clear()
    assert stats(alice).status_code == 200
    ((statement, _),) = statements.sent
    assert "user_id" in statement.partition("WHERE")[2]


def test_mallory_cannot_read_the_stats_of_alice(alice: Person, mallory: Person) -> None:
    alice.add("hers")
    assert stats(mallory, of="alice").status_code == 403
    assert stats(mallory).get_json() == EMPTY
