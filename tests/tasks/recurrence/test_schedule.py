"""Due dates, times and time zones: validation, updates, `due_at`, date filters and the overdue filter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from datetime import time as local_time
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from taskapi.http.fields.time import FIRST_DAY, LAST_DAY
from taskapi.tasks.listing import queries as listing_queries
from taskapi.tasks.recurrence import schedule
from taskapi.tasks.recurrence.schedule import PastTimes
from tests.conftest import Person

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = ("due_date", "due_time", "time_zone", "due_at", "recurrence")


def pointers(response: TestResponse) -> list[str]:
    """Return the sorted JSON pointers of a 422."""
    assert response.status_code == 422, response.text
    return sorted(fault["pointer"] for fault in response.get_json()["errors"])


class TestMembers:
    VALID: tuple[dict[str, str], ...] = (
        {"due_date": "2026-02-28"},
        {"due_date": "2028-02-29"},
        {"due_date": "1900-01-01"},
        {"due_date": "2999-12-31"},
        {"due_date": "2026-11-21", "due_time": "00:00"},
        {"due_date": "2026-11-21", "time_zone": "Pacific/Auckland"},
        {"due_date": "2026-11-21", "due_time": "23:59", "time_zone": "UTC"},
        {"due_date": "2026-11-21", "due_time": "09:30", "time_zone": "America/Argentina/Buenos_Aires"},
        {"due_date": "1900-01-01", "due_time": "00:00", "time_zone": "Pacific/Kiritimati"},
        {"due_date": "2999-12-31", "due_time": "23:59", "time_zone": "Pacific/Pago_Pago"},
    )

    def test_due_members_are_returned_as_they_were_sent(self, alice: Person) -> None:
        for members in self.VALID:
            task = alice.add(**members)
            assert {name: task[name] for name in members} == members
            assert (task["due_at"] is None) == ("time_zone" not in members or "due_time" not in members)
            assert alice.get(f"/{task['id']}").get_json() == task

    def test_a_zone_with_a_date_alone_is_exported_and_imported(self, alice: Person, mallory: Person) -> None:
        members = {"due_date": "2026-11-29", "time_zone": "Pacific/Auckland", "recurrence": "FREQ=DAILY"}
        alice.add(**members)
        exported = alice.data("GET", "/export").get_json()["tasks"]
        assert mallory.data("POST", "/import", json={"tasks": exported}).status_code == 200
        (task,) = mallory.get().get_json()
        assert {name: task[name] for name in members} == members
        assert ",2026-11-29,,Pacific/Auckland,," in alice.data("GET", "/export?format=csv").text
        assert "DTSTART;VALUE=DATE:20261129" in alice.data("GET", "/export?format=ics").text
        assert "BEGIN:VTIMEZONE" not in alice.data("GET", "/export?format=ics").text

    def test_due_members_default_to_null(self, alice: Person) -> None:
        task = alice.add()
        assert {task[name] for name in MEMBERS} == {None}
        assert task["repeat_from"] == "due"

    @pytest.mark.parametrize(
        ("members", "invalid"),
        [
            ({"due_time": "09:30"}, ["/due_time"]),
            ({"time_zone": "UTC"}, ["/time_zone"]),
            ({"due_time": "09:30", "recurrence": "FREQ=DAILY"}, ["/due_time", "/recurrence"]),
            ({"due_date": None, "due_time": "09:30", "time_zone": "UTC"}, ["/due_time", "/time_zone"]),
            (
                {"due_date": "20260228", "due_time": "9:30", "time_zone": "CET+1"},
                ["/due_date", "/due_time", "/time_zone"],
            ),
        ],
        ids=["time", "zone", "time and rule", "null date", "each invalid"],
    )
    def test_a_due_member_without_the_one_it_needs_is_422_with_a_pointer(
        self, alice: Person, members: dict[str, Any], invalid: list[str]
    ) -> None:
        assert pointers(alice.post(json={"title": "x", **members})) == invalid
        assert alice.get().get_json() == []

    INVALID_DATES: tuple[Any, ...] = (
        *("20260228", "2026-2-3", "2026-02-30", "2026-02-29", "2100-02-29", "2026-13-01", "2026-00-10", "2026-11-31"),
        *("2026-11-21T00:00:00Z", "2026-11-21T00:00:00.000Z", "2026-11-21 00:00", "2026-W47-6", "2026-325"),
        *(" 2026-11-21", "2026-11-21\n", "٢٠٢٦-١١-٢١", "0000-01-01", "1899-12-31", "3000-01-01", "10000-01-01"),
        *("tomorrow", "", 20261121, 1795219200, 2026.5, True, [], {}),
    )

    def test_an_invalid_due_date_is_422_and_as_a_filter_400(self, alice: Person) -> None:
        for value in self.INVALID_DATES:
            assert pointers(alice.post(json={"title": "x", "due_date": value})) == ["/due_date"], value
            if isinstance(value, str):
                assert alice.get(query_string={"due_from": value}).status_code == 400, value

    INVALID_TIMES = (
        "24:00",
        "9:30",
        "09:60",
        "0930",
        "09:30:00",
        "09:30Z",
        "09:30\n",
        "9am",
        "",
        "٠٩:٣٠",
        930,
        9.5,
        False,
    )

    def test_a_due_time_other_than_hours_and_minutes_is_422(self, alice: Person) -> None:
        for value in self.INVALID_TIMES:
            body = {"title": "x", "due_date": "2026-11-21", "due_time": value}
            assert pointers(alice.post(json=body)) == ["/due_time"], value

    INVALID_ZONES: tuple[Any, ...] = (
        *("Europe/Nowhere", "europe/berlin", "+01:00", "UTC+1", "CEST", "../../etc/passwd", "/etc/localtime", ""),
        *("Europe", "Europe/Berlin\n", "Europe/Berlin ", "posixrules", 1, ["UTC"]),
    )

    def test_a_time_zone_that_is_no_iana_name_is_422(self, alice: Person) -> None:
        for value in self.INVALID_ZONES:
            body = {"title": "x", "due_date": "2026-11-21", "due_time": "09:30", "time_zone": value}
            assert pointers(alice.post(json=body)) == ["/time_zone"], value

    @pytest.mark.parametrize("name", ["localtime", "Factory"])
    def test_a_zone_file_that_is_no_iana_zone_is_refused(self, alice: Person, name: str) -> None:
        """On Debian `localtime` is a link to the time zone of the machine, so it differs between machines."""
        body = {"title": "x", "due_date": "2026-11-21", "due_time": "09:30", "time_zone": name}
        assert pointers(alice.post(json=body)) == ["/time_zone"]
        assert alice.get(f"?overdue=true&tz={name}").status_code == 400

    def test_the_first_and_the_last_due_date_work_in_every_time_zone(self) -> None:
        for zone in available_timezones() - {"localtime", "Factory"}:
            for day in (FIRST_DAY, LAST_DAY):
                for clock in ("00:00", "23:59"):
                    assert isinstance(schedule.due_instant(day, clock, zone), datetime)


ALL_DUE_MEMBERS = {
    "title": "x",
    "due_date": "2026-11-21",
    "due_time": "09:30",
    "time_zone": "Europe/Berlin",
    "recurrence": "FREQ=DAILY",
    "repeat_from": "completion",
}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestPartialUpdates:
    @pytest.mark.parametrize(
        ("members", "invalid"),
        [
            ({"due_date": None}, ["/due_time", "/recurrence", "/time_zone"]),
            ({"due_date": None, "due_time": None}, ["/recurrence", "/time_zone"]),
            ({"due_date": None, "due_time": None, "time_zone": None}, ["/recurrence"]),
            ({"title": "y", "due_date": None, "recurrence": None, "completed": True}, ["/due_time", "/time_zone"]),
            ({"recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, ["/recurrence"]),
        ],
        ids=["date", "date and time", "all but the rule", "with other members", "a rule without dates"],
    )
    def test_an_update_that_leaves_contradicting_due_members_is_422_and_changes_nothing(
        self, alice: Person, method: str, members: dict[str, Any], invalid: list[str]
    ) -> None:
        task = alice.add(**ALL_DUE_MEMBERS)
        etag = alice.get().headers["ETag"]
        assert pointers(alice.send(method, "/1", json=members)) == invalid
        assert alice.get("/1").get_json() == task
        assert alice.get().headers["ETag"] == etag

    def test_an_update_of_a_due_member_without_the_one_it_needs_is_422(self, alice: Person, method: str) -> None:
        alice.add()
        assert pointers(alice.send(method, "/1", json={"due_time": "09:30"})) == ["/due_time"]
        assert pointers(alice.send(method, "/1", json={"recurrence": "FREQ=DAILY"})) == ["/recurrence"]

    def test_due_members_can_be_set_one_by_one(self, alice: Person, method: str) -> None:
        alice.add()
        for name, value in ALL_DUE_MEMBERS.items():
            assert alice.send(method, "/1", json={name: value}).status_code == 200
        task = alice.get("/1").get_json()
        assert {name: task[name] for name in ALL_DUE_MEMBERS} == ALL_DUE_MEMBERS
        assert task["due_at"] == "2026-11-21T08:30:00.000Z"

    def test_an_update_recomputes_due_at(self, alice: Person, method: str) -> None:
        alice.add(**ALL_DUE_MEMBERS)
        for members, instant in (
            ({"due_date": "2026-07-01"}, "2026-07-01T07:30:00.000Z"),
            ({"due_time": "23:00"}, "2026-07-01T21:00:00.000Z"),
            ({"time_zone": "Asia/Kathmandu"}, "2026-07-01T17:15:00.000Z"),
            ({"title": "y"}, "2026-07-01T17:15:00.000Z"),
            ({"due_time": None}, None),
            ({"due_time": "23:00"}, "2026-07-01T17:15:00.000Z"),
            ({"time_zone": None}, None),
        ):
            assert alice.send(method, "/1", json=members).get_json()["due_at"] == instant

    def test_null_clears_all_due_members(self, alice: Person, method: str) -> None:
        alice.add(**ALL_DUE_MEMBERS)
        body = dict.fromkeys(("due_date", "due_time", "time_zone", "recurrence", "repeat_from"))
        task = alice.send(method, "/1", json=body).get_json()
        assert {task[name] for name in MEMBERS} == {None}
        assert task["repeat_from"] == "due"
        assert alice.get("?no_due=true").get_json() == [task]


class TestDueAt:
    INSTANTS = (
        # The clock skips 02:00 to 03:00 in spring: a time in between has the offset before the change.
        ("2026-03-29", "01:59", "Europe/Berlin", "2026-03-29T00:59:00.000Z"),
        ("2026-03-29", "02:30", "Europe/Berlin", "2026-03-29T01:30:00.000Z"),
        ("2026-03-29", "03:00", "Europe/Berlin", "2026-03-29T01:00:00.000Z"),
        # It repeats 02:00 to 03:00 in autumn: a time in between means its first occurrence.
        ("2026-10-25", "02:30", "Europe/Berlin", "2026-10-25T00:30:00.000Z"),
        ("2026-10-25", "03:00", "Europe/Berlin", "2026-10-25T02:00:00.000Z"),
        ("2026-03-08", "02:30", "America/New_York", "2026-03-08T07:30:00.000Z"),
        ("2026-11-01", "01:30", "America/New_York", "2026-11-01T05:30:00.000Z"),
        ("2026-11-01", "02:00", "America/New_York", "2026-11-01T07:00:00.000Z"),
        ("2026-11-21", "00:00", "Pacific/Kiritimati", "2026-11-20T10:00:00.000Z"),
        ("2026-11-21", "23:30", "Pacific/Pago_Pago", "2026-11-22T10:30:00.000Z"),
        ("2026-11-21", "00:00", "Asia/Kathmandu", "2026-11-20T18:15:00.000Z"),
        ("2028-02-29", "12:00", "UTC", "2028-02-29T12:00:00.000Z"),
        # Samoa skipped December 30, 2011.
        ("2011-12-30", "12:00", "Pacific/Apia", "2011-12-30T22:00:00.000Z"),
    )

    def test_due_at_is_the_instant_of_the_local_time_in_the_zone(self, alice: Person) -> None:
        for day, clock, zone, instant in self.INSTANTS:
            task = alice.add(due_date=day, due_time=clock, time_zone=zone)
            assert (task["due_date"], task["due_time"], task["due_at"]) == (day, clock, instant), (day, clock, zone)
            assert alice.get(f"/{task['id']}").get_json() == task

    def test_due_at_and_due_date_do_not_depend_on_the_time_zone_of_the_server(
        self, alice: Person, database_url: str
    ) -> None:
        program = (
            "import json, os, sys, time; from tests.conftest import Person, build\n"
            "for zone in sys.argv[2:]:\n"
            "    os.environ['TZ'] = zone; time.tzset()\n"
            "    alice = Person(build(sys.argv[1]).test_client(), 'alice')\n"
            "    made = alice.add(due_date='2026-11-21', due_time='00:00', time_zone='Asia/Kathmandu')\n"
            "    alice.add(due_date='2026-11-21')\n"
            "    days = alice.titles('?due_from=2026-11-21&due_to=2026-11-21')\n"
            "    print(json.dumps([time.tzname[0], made, len(days), alice.get().get_json()]))"
        )
        environ = {name: os.environ[name] for name in ("PATH", "XDG_RUNTIME_DIR") if name in os.environ}
        output = subprocess.run(
            [sys.executable, "-c", program, database_url, "Pacific/Kiritimati", "America/Los_Angeles"],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            check=True,
        ).stdout
        results = [json.loads(line) for line in output.splitlines()]
        assert [(tz_name, count) for tz_name, _, count, _ in results] == [("+14", 2), ("PST", 4)]
        for _, made, count, tasks in results:
            assert (made["due_date"], made["due_at"]) == ("2026-11-21", "2026-11-20T18:15:00.000Z")
            assert tasks == alice.get().get_json()[-count:]


OCTOBER_25 = {"due_date": "2026-10-25", "due_time": "02:30"}
MARCH_28 = {"due_date": "2027-03-28", "due_time": "02:30"}


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001  in UTC
    | st.sampled_from(
        [datetime.fromisoformat(day) for day in ("2026-10-25", "2027-03-28", "2026-04-23T21:30")]
    ).flatmap(lambda day: st.integers(0, 24 * 60).map(lambda minute: day + timedelta(minutes=minute))),
    st.sampled_from(
        [
            *("Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu", "UTC"),
            *("Africa/Cairo", "Australia/Lord_Howe", "America/Havana", "America/Asuncion", "Asia/Beirut"),
        ]
    ),
    st.times(),
)
@example(datetime(2026, 10, 29, 21, 10), "Africa/Cairo", local_time(23, 30))  # noqa: DTZ001  24:00 becomes 23:00
@example(datetime(2026, 4, 23, 22, 15), "Africa/Cairo", local_time(0, 30))  # noqa: DTZ001  00:00 becomes 01:00
@example(datetime(2026, 10, 25, 1, 15), "Europe/Berlin", local_time(2, 30))  # noqa: DTZ001
@example(datetime(2027, 3, 28, 1, 15), "Europe/Berlin", local_time(2, 30))  # noqa: DTZ001
@example(datetime(2026, 4, 4, 15, 20), "Australia/Lord_Howe", local_time(1, 45))  # noqa: DTZ001  half an hour
@settings(max_examples=500)
def test_a_time_of_today_has_passed_if_its_instant_has(now: datetime, zone: str, due: local_time) -> None:
    now, text = now.replace(second=0, microsecond=0, tzinfo=UTC), f"{due:%H:%M}"
    past = PastTimes.at(now, zone)
    instant = schedule.due_instant(schedule.today(zone, now), text, zone)
    assert instant
    assert (text < (past.earlier if text < past.change else past.later)) == (instant < now)


class TestFilters:
    @pytest.fixture
    def alice_with_due_dates(self, alice: Person) -> Person:
        """Alice with tasks due on November 19 to 22, 2026, titled by the day, and one without a due date."""
        for title, members in {
            "undated": {},
            "19": {"due_date": "2026-11-19"},
            "20": {"due_date": "2026-11-20", "due_time": "23:59"},
            "21": {"due_date": "2026-11-21"},
            "22": {"due_date": "2026-11-22", "due_time": "00:00", "time_zone": "Pacific/Kiritimati"},
        }.items():
            alice.add(title, **members)
        return alice

    BY_DATE: tuple[tuple[str, list[str]], ...] = (
        ("due_from=2026-11-20", ["20", "21", "22"]),
        ("due_to=2026-11-20", ["19", "20"]),
        ("due_from=2026-11-20&due_to=2026-11-21", ["20", "21"]),
        ("due_from=2026-11-21&due_to=2026-11-21", ["21"]),
        ("due_from=2026-11-23", []),
        ("due_from=2026-11-22&due_to=2026-11-19", []),
        ("no_due=true", ["undated"]),
    )

    def test_date_filters_are_inclusive(self, alice_with_due_dates: Person) -> None:
        for query, titles in self.BY_DATE:
            assert alice_with_due_dates.titles(f"?{query}&sort=created_at") == titles, query
            assert alice_with_due_dates.get(f"?{query}&include=total").headers["X-Total-Count"] == str(len(titles)), (
                query
            )

    INVALID_FILTERS = (
        *("tz=UTC", "tz=Europe/Berlin&due_from=2026-11-20", "overdue=true&tz=Nowhere", "overdue=false", "overdue=1"),
        *("no_due=true&due_from=2026-11-20", "no_due=true&overdue=true", "no_due=false", "due_from=20261120"),
        *("due_to=2026-02-30", "due_from=2026-11-20T00:00:00Z", "due_from=", "overdue=true&overdue=true"),
    )

    def test_invalid_or_contradicting_due_filters_are_400(self, alice: Person) -> None:
        for query in self.INVALID_FILTERS:
            response = alice.get(f"?{query}")
            assert (response.status_code, response.get_json()["code"]) == (400, "bad-parameter"), query

    OVERDUE: dict[str, tuple[dict[str, str], datetime, str, bool]] = {
        "a date until its day ends": (
            {"due_date": "2026-11-21"},
            datetime(2026, 11, 21, 23, 59, tzinfo=UTC),
            "",
            False,
        ),
        "a date when its day has ended": ({"due_date": "2026-11-21"}, datetime(2026, 11, 22, tzinfo=UTC), "", True),
        "day ended in the east": (
            {"due_date": "2026-11-21"},
            datetime(2026, 11, 21, 10, tzinfo=UTC),
            "Pacific/Kiritimati",
            True,
        ),
        "day not ended in the east": (
            {"due_date": "2026-11-21"},
            datetime(2026, 11, 21, 9, 59, tzinfo=UTC),
            "Pacific/Kiritimati",
            False,
        ),
        "day not ended in the west": (
            {"due_date": "2026-11-21"},
            datetime(2026, 11, 22, 10, 59, tzinfo=UTC),
            "Pacific/Pago_Pago",
            False,
        ),
        "day ended in the west": (
            {"due_date": "2026-11-21"},
            datetime(2026, 11, 22, 11, tzinfo=UTC),
            "Pacific/Pago_Pago",
            True,
        ),
        "at the due time": (
            {"due_date": "2026-11-21", "due_time": "15:45"},
            datetime(2026, 11, 21, 10, 0, tzinfo=UTC),
            "Asia/Kathmandu",
            False,
        ),
        "after the due time": (
            {"due_date": "2026-11-21", "due_time": "15:45"},
            datetime(2026, 11, 21, 10, 1, tzinfo=UTC),
            "Asia/Kathmandu",
            True,
        ),
        "a due time tomorrow": (
            {"due_date": "2026-11-22", "due_time": "00:00"},
            datetime(2026, 11, 21, 23, 59, tzinfo=UTC),
            "UTC",
            False,
        ),
        "the zone of the task, not of the request": (
            {"due_date": "2026-11-21", "due_time": "09:00", "time_zone": "Europe/Berlin"},
            datetime(2026, 11, 21, 8, 1, tzinfo=UTC),
            "Pacific/Pago_Pago",
            True,
        ),
        "before the time in the zone of the task": (
            {"due_date": "2026-11-21", "due_time": "09:00", "time_zone": "Europe/Berlin"},
            datetime(2026, 11, 21, 8, 0, tzinfo=UTC),
            "Pacific/Kiritimati",
            False,
        ),
        "a date with a zone of its own is a date, in the zone of the request": (
            {"due_date": "2026-11-21", "time_zone": "Pacific/Pago_Pago"},
            datetime(2026, 11, 21, 10, tzinfo=UTC),
            "Pacific/Kiritimati",
            True,
        ),
        # Berlin repeats 02:00 to 03:00 on October 25 (the first is due), and skips it on March 28 (02:30 means 03:30).
        "a repeated time, before it": (OCTOBER_25, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Europe/Berlin", False),
        "a repeated time, after it": (OCTOBER_25, datetime(2026, 10, 25, 0, 31, tzinfo=UTC), "Europe/Berlin", True),
        "a repeated time, in the second hour": (
            OCTOBER_25,
            datetime(2026, 10, 25, 1, 15, tzinfo=UTC),
            "Europe/Berlin",
            True,
        ),
        "a skipped time, before it": (MARCH_28, datetime(2027, 3, 28, 1, 30, tzinfo=UTC), "Europe/Berlin", False),
        "a skipped time, after it": (MARCH_28, datetime(2027, 3, 28, 1, 31, tzinfo=UTC), "Europe/Berlin", True),
        "without a due date": ({}, datetime(2999, 1, 1, tzinfo=UTC), "", False),
    }

    def test_the_overdue_filter_uses_the_clock_and_the_time_zone(
        self, alice: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for case, (members, time, zone, expected) in self.OVERDUE.items():
            made = [alice.add(case, **members)["id"], alice.add("done", completed=True, **members)["id"]]
            monkeypatch.setattr(listing_queries, "now", lambda time=time: time)
            query = "?overdue=true" + (f"&tz={zone}" if zone else "")
            assert alice.titles(query) == ([case] if expected else []), case
            assert alice.get(f"{query}&include=total").headers["X-Total-Count"] == str(int(expected)), case
            for id in made:
                alice.delete(f"/{id}")

    def test_the_overdue_list_has_no_etag_because_time_changes_it(
        self, alice: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice.add("it", due_date="2026-11-21")
        monkeypatch.setattr(listing_queries, "now", lambda: datetime(2026, 11, 21, tzinfo=UTC))
        first = alice.get("?overdue=true")
        assert (first.get_json(), "ETag" in first.headers) == ([], False)
        monkeypatch.setattr(listing_queries, "now", lambda: datetime(2026, 11, 22, tzinfo=UTC))
        tag = alice.get().headers["ETag"]
        assert alice.titles("?overdue=true") == ["it"]
        for condition in (tag, "*"):
            assert alice.get("?overdue=true", headers={"If-None-Match": condition}).status_code == 200
