"""VTIMEZONE: `icalendar` and `dateutil` read the offsets that `zoneinfo` has, also after 2037."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import icalendar
import pytest
import vobject
from dateutil.tz import tzical

from taskapi.tasks.transfer import time_zones
from taskapi.tasks.transfer.time_zones import vtimezone
from tests.conftest import Person

ZONES = sorted(available_timezones() - {"localtime", "Factory"})

UNUSUAL = [
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu"),
    # A change at 24 hours, on the first day of the next month; at 26 hours; two days later; before midnight.
    *("Africa/Cairo", "Asia/Jerusalem", "Asia/Gaza", "America/Nuuk", "America/Santiago"),
    # Winter time is "daylight saving time"; years without a change; no change at all; changes listed until 2087.
    *("Europe/Dublin", "America/Port-au-Prince", "America/Sao_Paulo", "Asia/Tokyo", "Africa/Casablanca"),
]


def by_dateutil(zone: str) -> Any:
    """Return the time zone that `dateutil` reads."""
    return tzical(io.StringIO(vtimezone(zone).decode().replace("\r\n", "\n"))).get(zone)


def exists(time: datetime, zone: ZoneInfo) -> bool:
    """Return False for a local time that is skipped or occurs twice."""
    return time.replace(tzinfo=zone).utcoffset() == time.replace(tzinfo=zone, fold=1).utcoffset()


def test_the_rules_of_every_zone_are_those_of_zoneinfo_in_the_years_after_2037() -> None:
    for zone in ZONES:
        read, expected = by_dateutil(zone), ZoneInfo(zone)
        for day in range(3, 366, 20):
            time = datetime(2040, 1, 1, 12) + timedelta(days=day)  # noqa: DTZ001  local
            assert read.utcoffset(time) == expected.utcoffset(time), (zone, time)


@pytest.mark.parametrize("zone", UNUSUAL)
def test_all_offsets_since_1970_are_those_of_zoneinfo(zone: str) -> None:
    read, expected = by_dateutil(zone), ZoneInfo(zone)
    for hours in range(0, 80 * 365 * 24, 24 * 10 + 7):
        time = datetime(1970, 1, 2) + timedelta(hours=hours)  # noqa: DTZ001  local
        assert not exists(time, expected) or read.utcoffset(time) == expected.utcoffset(time), time


@pytest.mark.parametrize("zone", ["Africa/Cairo", "Asia/Jerusalem", "Asia/Gaza", "America/Nuuk", "Europe/Berlin"])
def test_the_days_of_a_change_are_right_in_each_year(zone: str) -> None:
    read, expected = by_dateutil(zone), ZoneInfo(zone)
    for year in range(2026, 2038):
        for month in (3, 4, 10, 11):
            for hours in range(0, 31 * 24, 24):
                time = datetime(year, month, 1, 6) + timedelta(hours=hours)  # noqa: DTZ001  local
                assert read.utcoffset(time) == expected.utcoffset(time), time


def test_a_task_of_2040_in_berlin_is_at_the_same_instant_for_two_independent_parsers(alice: Person) -> None:
    task = {"due_time": "09:30", "time_zone": "Europe/Berlin", "recurrence": "FREQ=WEEKLY"}
    for day in ("2040-01-12", "2040-07-12"):
        alice.add(day, due_date=day, **task)
    data = alice.data("GET", "/export?format=ics").data
    # A name that zoneinfo does not know, so that the parsers use the VTIMEZONE.
    data = data.replace(b"Europe/Berlin", b"Made/Up")
    expected = {task["title"]: task["due_at"] for task in alice.get().get_json()}
    assert {*expected.values()} == {"2040-01-12T08:30:00.000Z", "2040-07-12T07:30:00.000Z"}
    for todo in icalendar.Calendar.from_ical(data).walk("VTODO"):
        assert todo["due"].dt == todo["dtstart"].dt == datetime.fromisoformat(expected[todo["summary"]])
    for todo in vobject.readOne(data.decode()).vtodo_list:
        assert todo.due.value == todo.dtstart.value == datetime.fromisoformat(expected[todo.summary.value])


def test_a_zone_is_read_from_the_package_tzdata_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TZPATH
    monkeypatch.setattr(time_zones.zoneinfo, "TZPATH", ())
    assert time_zones._read_tzif("America/Argentina/Buenos_Aires").startswith(b"TZif")


@pytest.mark.parametrize("footer", ["", "CET-1CEST,J60,J300", "UTC0", "junk"])
def test_a_zone_whose_rules_have_another_form_has_the_listed_transitions_only(footer: str) -> None:
    tzif = time_zones._read_tzif("Europe/Berlin")
    body = tzif.removesuffix(b"\n").rpartition(b"\n")[0]
    lines = [*time_zones._observances(body + f"\n{footer}\n".encode())]
    assert not [line for line in lines if line.startswith("RRULE")]
    assert len(lines) > 10
