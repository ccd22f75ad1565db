"""The recurrence rules of an iCalendar export: another program finds the dates that the service finds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import icalendar
import pytest
from dateutil.rrule import rrulestr

from taskapi.tasks.recurrence.occurrences import next_date
from taskapi.tasks.recurrence.rrule import normalize
from taskapi.tasks.recurrence.schedule import due_instant
from taskapi.tasks.transfer.export_icalendar import as_icalendar

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DUE = date(2026, 12, 27)

RULES = (
    "FREQ=DAILY;UNTIL=20261231T083000Z",
    "FREQ=DAILY;UNTIL=20261231T082959Z",
    "FREQ=DAILY;UNTIL=20261231T235959Z",
    "FREQ=DAILY;UNTIL=20261231T000000Z",
    "FREQ=DAILY;UNTIL=20261231T093000",
    "FREQ=DAILY;UNTIL=20261231T092959",
    "FREQ=DAILY;UNTIL=20261231",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU;COUNT=5",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO;COUNT=5",
    "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;UNTIL=20270531T230000Z",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2,-2;UNTIL=20270331T000000",
    "FREQ=YEARLY;BYDAY=SU;BYSETPOS=52,3;UNTIL=20290101T000000Z",
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("clock", "zone"),
    [
        (None, None),
        (None, "Pacific/Auckland"),
        ("09:30", None),
        ("09:30", "Europe/Berlin"),
        ("09:30", "America/Los_Angeles"),
        ("00:00", "UTC"),
        ("23:59", "Pacific/Auckland"),
    ],
)
def test_dateutil_finds_the_dates_of_the_service_in_an_export(rule: str, clock: str | None, zone: str | None) -> None:
    stored, dates = normalize(rule), [DUE]
    while following := next_date(stored, DUE, dates[-1], occurrence=len(dates), clock=clock, zone=zone):
        dates.append(following)
    members = {"due_date": DUE, "due_time": clock, "time_zone": zone, "recurrence": stored, "occurrence": None}
    row = {"due_at": due_instant(DUE, clock, zone), "created_at": NOW, "updated_at": NOW, **members}
    others = {
        "user_id": "alice",
        "id": 1,
        "title": "x",
        "description": None,
        "tags": (),
        "priority": 0,
        "repeat_from": "due",
    }
    task = SimpleNamespace(**row, **others, completed=False, completed_at=None)
    (todo,) = icalendar.Calendar.from_ical(b"".join(as_icalendar([task]))).walk("VTODO")
    start = todo["DTSTART"].dt
    if not isinstance(start, datetime):
        start = datetime.combine(start, time())
    exported = rrulestr(todo["RRULE"].to_ical().decode(), dtstart=start)
    # The first date of our series is the due date, also if the rule does not name it.
    assert sorted({DUE, *(each.date() for each in exported)}) == sorted(dates)
    assert zone is None or clock is None or start.astimezone(UTC) == due_instant(DUE, clock, zone)
    assert str(start.tzinfo) == str(ZoneInfo(zone) if zone and clock else None)
