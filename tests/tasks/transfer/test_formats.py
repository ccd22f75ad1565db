"""Export formats with the first and last possible dates in every time zone: complete and parsable."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from itertools import product
from typing import Any

import icalendar
import pytest

from taskapi.concurrency.cooperative import LET_OTHERS_RUN
from taskapi.http.fields.time import FIRST_DAY, LAST_DAY
from taskapi.tasks.schemas import task_out
from taskapi.tasks.transfer import export_icalendar, time_zones
from tests.conftest import Person
from tests.slices import Slices

ZONES = [
    # The largest offsets from UTC today, and the largest ever: local mean time until about 1900.
    *("Etc/GMT+12", "Etc/GMT-14", "America/Juneau", "Asia/Manila"),
    *("America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati", "UTC", "Etc/UTC"),
]
RULE_ENDS = ["", ";UNTIL=99991231", ";UNTIL=00010101", ";UNTIL=29991231", ";COUNT=1", ";COUNT=999"]
RULE_ENDS += [f";UNTIL={day}{time}" for day in ("99991231", "00010101", "29991231") for time in ("T000000", "T235959Z")]
DAYS = [FIRST_DAY.isoformat(), "2026-11-20", LAST_DAY.isoformat()]
TIMES = ["00:00", "23:59", None]


def load(person: Person, tasks: list[dict[str, Any]]) -> None:
    """Import tasks; the request must succeed."""
    response = person.data("POST", "/import", json={"tasks": tasks})
    assert response.status_code == 200, response.text


def extreme_tasks(days: list[str]) -> list[dict[str, Any]]:
    """Return tasks with all combinations of these dates, times of the day, time zones and ends of a rule."""
    combinations = product(days, TIMES, [*ZONES, None], ["", *(f"FREQ=DAILY{end}" for end in RULE_ENDS)])
    tasks = [
        {"due_date": day, "due_time": time, "time_zone": zone, "recurrence": rule or None, "occurrence": 5}
        for day, time, zone, rule in combinations
    ]
    return [{"title": "x", "id": id, **task} for id, task in enumerate(tasks, 1)]


def calendar(person: Person) -> Any:
    """Export the tasks as iCalendar and parse the file."""
    response = person.data("GET", "/export?format=ics")
    assert response.status_code == 200
    assert response.data.endswith(b"END:VCALENDAR\r\n"), "the file is complete"
    return icalendar.Calendar.from_ical(response.data)


@pytest.mark.parametrize("day", DAYS)
def test_every_endpoint_works_with_the_first_and_last_dates_in_every_zone(alice: Person, day: str) -> None:
    tasks = extreme_tasks([day])
    load(alice, tasks)
    for query in ("", "?sort=due", "?sort=-due", "?overdue=true", f"?due_from={day}&due_to={day}"):
        assert alice.get(query).status_code == 200
    for zone in ZONES:
        assert alice.get(f"?overdue=true&tz={zone.replace('+', '%2B')}").status_code == 200
        assert alice.data("GET", f"/stats?tz={zone.replace('+', '%2B')}").status_code == 200
    assert len(alice.data("GET", "/changes").get_json()["items"]) == len(tasks)
    document = json.loads(alice.data("GET", "/export").data)
    assert [task["due_date"] for task in document["tasks"]] == [day] * len(tasks)
    lines = alice.data("GET", "/export?format=csv").data.decode("utf-8-sig")
    assert len([*csv.DictReader(io.StringIO(lines, newline=""), strict=True)]) == len(tasks)
    assert len(calendar(alice).walk("VTODO")) == len(tasks)
    assert alice.data("POST", "/import", json=document).get_json()["unchanged"] == len(tasks)


@pytest.mark.parametrize("day", DAYS)
def test_tasks_with_the_first_and_last_dates_can_be_completed_in_every_zone(alice: Person, day: str) -> None:
    tasks = [
        task for task in extreme_tasks([day]) if task["due_time"] != "00:00" and task["time_zone"] in (*ZONES[:4], None)
    ]
    load(alice, tasks)
    for start in range(0, len(tasks), 50):
        ids = [task["id"] for task in tasks[start : start + 50]]
        operations = [{"op": "complete", "id": id, "completed": flag} for id in ids for flag in (True, False)]
        response = alice.post("/batch", json={"operations": operations})
        assert response.status_code == 200, response.text
    for repeat_from in ("due", "completion"):
        task = {"due_date": day, "due_time": "23:59", "time_zone": "Etc/GMT+12", "recurrence": "FREQ=YEARLY;COUNT=9"}
        made = alice.add(**task, repeat_from=repeat_from)
        assert alice.patch(f"/{made['id']}/complete").status_code == 200
    assert calendar(alice).walk("VTODO")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("end", "expected"),
    [("UNTIL=99991231", LAST_DAY), ("UNTIL=00010101", date(2026, 11, 20)), ("UNTIL=20261224", date(2026, 12, 24))],
)
def test_until_in_a_calendar_is_within_the_allowed_dates_and_not_before_dtstart(
    alice: Person, zone: str, end: str, expected: date
) -> None:
    task = {"title": "x", "due_date": "2026-11-20", "due_time": "12:00", "time_zone": zone}
    load(alice, [{**task, "recurrence": f"FREQ=DAILY;{end}"}])
    (todo,) = calendar(alice).walk("VTODO")
    (until,) = todo["rrule"]["UNTIL"]
    assert isinstance(until, datetime)
    start = todo["dtstart"].dt
    assert until.astimezone(start.tzinfo).date() == expected
    assert until >= start


@pytest.mark.parametrize(("count", "occurrence", "remaining"), [(3, 1, 3), (3, 3, 1), (3, 4, 1), (3, 10**18 - 1, 1)])
def test_count_in_a_calendar_is_the_number_of_remaining_tasks_and_at_least_1(
    alice: Person, count: int, occurrence: int, remaining: int
) -> None:
    rule = {"recurrence": f"FREQ=DAILY;COUNT={count}", "series_id": 1, "occurrence": occurrence}
    load(alice, [{"title": "x", "due_date": "2026-11-20", **rule}])
    (todo,) = calendar(alice).walk("VTODO")
    assert todo["rrule"]["COUNT"] == [remaining]


def test_a_vtimezone_is_built_once_per_process(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    read = time_zones._read_tzif
    monkeypatch.setattr(time_zones, "_read_tzif", lambda name: calls.append(name) or read(name))
    time_zones.vtimezone.cache_clear()
    task = {"title": "x", "due_date": "2026-11-20", "due_time": "12:00", "recurrence": "FREQ=DAILY"}
    load(alice, [{**task, "time_zone": zone} for zone in ["Asia/Manila", "Europe/Berlin"] * 3])
    for _ in range(3):
        assert len(calendar(alice).walk("VTIMEZONE")) == 2
    assert sorted(calls) == ["Asia/Manila", "Europe/Berlin"]


@pytest.mark.parametrize(("format", "every"), [("json", 100), ("csv", 50), ("ics", 50)])
def test_an_export_yields_to_other_requests(
    alice: Person, monkeypatch: pytest.MonkeyPatch, format: str, every: int
) -> None:
    load(alice, [{"title": "x"}] * 300)
    yields: list[float] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
    assert alice.data("GET", f"/export?format={format}").data
    assert len(yields) >= 300 / every
    assert set(yields) == {LET_OTHERS_RUN}


@pytest.mark.parametrize(("format", "most"), [("json", 26), ("csv", 26), ("ics", 3)])
def test_an_export_of_long_texts_yields_after_fewer_tasks(
    alice: Person, slices: Slices, format: str, most: int
) -> None:
    """A calendar folds long lines, and on SQLite a chunk of 256 KiB of text is read without a wait."""
    load(alice, [{"title": "x", "description": "x" * 10_000}] * 60)
    slices.clear()
    slices.count(*{"ics": (export_icalendar, "_vtodo")}.get(format, (task_out, "_dump_one")))
    assert alice.data("GET", f"/export?format={format}").data
    assert slices.total == 60
    assert slices.longest <= most
