"""The iCalendar writer: `icalendar` reads back every value, from lines of at most 75 octets."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskapi.tasks.transfer.export_icalendar import MAX_LINE_BYTES, as_icalendar

TIME = datetime(2026, 11, 20, 9, 30, 0, 123_000, tzinfo=UTC)

# A TEXT value has no control characters other than line breaks (RFC 5545, section 3.3.11), and neither has a title.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from('\n,;\\:" '), max_size=300)


def row(**members: Any) -> Any:
    """Return a row of the tasks table as an export reads it."""
    defaults = {
        "user_id": "alice",
        "id": 7,
        "title": "Water the plants",
        "description": None,
        "tags": (),
        "priority": 0,
        "completed": False,
        "completed_at": None,
        "created_at": TIME,
        "updated_at": TIME,
        **dict.fromkeys(("due_date", "due_time", "due_at", "time_zone", "recurrence", "occurrence")),
        "repeat_from": "due",
    }
    return SimpleNamespace(**{**defaults, **members})


def written(**members: Any) -> bytes:
    return b"".join(as_icalendar([row(**members)]))


def todo(**members: Any) -> Any:
    (found,) = icalendar.Calendar.from_ical(written(**members)).walk("VTODO")
    return found


@given(title=TEXTS, description=TEXTS, tags=st.lists(TEXTS, max_size=5))
def test_icalendar_reads_back_every_text_from_lines_of_at_most_75_octets(
    title: str, description: str, tags: list[str]
) -> None:
    data = written(title=title, description=description, tags=tuple(tags), user_id=f"a{title}")
    for line in data.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= MAX_LINE_BYTES
        line.decode()  # no character is divided
    (found,) = icalendar.Calendar.from_ical(data).walk("VTODO")
    # icalendar reads `\\n` as a line break, which RFC 5545 does not: compare what it would write itself.
    expected = icalendar.Todo()
    expected.add("summary", title)
    expected.add("description", description)
    assert f"SUMMARY:{_escaped(title)}" in _unfolded(data)
    if description:
        assert f"DESCRIPTION:{_escaped(description)}" in _unfolded(data)
    if "\\" not in title + description:
        assert (found["summary"], found.get("description", "")) == (expected["summary"], description)
    assert len(found.categories) == len(tags)


def _unfolded(data: bytes) -> list[str]:
    return data.replace(b"\r\n ", b"").decode().split("\r\n")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


@pytest.mark.parametrize(
    ("members", "lines"),
    [
        ({"due_date": date(2026, 11, 20)}, ["DUE;VALUE=DATE:20261120"]),
        ({"due_date": date(2026, 11, 20), "due_time": "09:05"}, ["DUE:20261120T090500"]),
        (
            {"due_date": date(2026, 11, 20), "due_time": "10:30", "time_zone": "Europe/Berlin", "due_at": TIME},
            ["DUE;TZID=Europe/Berlin:20261120T103000"],
        ),
        (
            {"due_date": date(2026, 11, 20), "due_time": "10:30", "time_zone": "UTC", "due_at": TIME},
            ["DUE:20261120T103000Z"],
        ),
        (
            {"due_date": date(2026, 11, 20), "recurrence": "FREQ=DAILY;COUNT=9", "occurrence": 3},
            ["DTSTART;VALUE=DATE:20261120", "DUE;VALUE=DATE:20261120", "RRULE:FREQ=DAILY;COUNT=7"],
        ),
        (
            {
                "due_date": date(2026, 11, 20),
                "due_time": "10:30",
                "time_zone": "Europe/Berlin",
                "due_at": TIME,
                "recurrence": "FREQ=WEEKLY;BYDAY=FR;UNTIL=20270701",
            },
            [
                "DTSTART;TZID=Europe/Berlin:20261120T103000",
                "DUE;TZID=Europe/Berlin:20261120T103000",
                "RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20270701T215959Z",
            ],
        ),
        (
            {"due_date": date(2026, 11, 20), "due_time": "10:30", "recurrence": "FREQ=DAILY;UNTIL=20261231"},
            ["DTSTART:20261120T103000", "DUE:20261120T103000", "RRULE:FREQ=DAILY;UNTIL=20261231T235959"],
        ),
        (
            {"completed": True, "completed_at": TIME, "due_date": date(2026, 11, 20), "recurrence": "FREQ=DAILY"},
            ["COMPLETED:20261120T093000Z", "DUE;VALUE=DATE:20261120", "STATUS:COMPLETED"],
        ),
        ({"completed_at": TIME, "completed": True}, ["X-TASKAPI-MILLISECONDS:123,123,123"]),
        ({"created_at": TIME.replace(microsecond=7000)}, ["CREATED:20261120T093000Z", "X-TASKAPI-MILLISECONDS:7,123"]),
        (
            {"due_date": date(2026, 11, 20), "recurrence": "FREQ=DAILY", "repeat_from": "completion"},
            ["X-TASKAPI-REPEAT-FROM:completion"],
        ),
        (
            {"due_date": date(2026, 11, 20), "time_zone": "Asia/Tokyo"},
            ["DUE;VALUE=DATE:20261120", "X-TASKAPI-TIME-ZONE:Asia/Tokyo"],
        ),
        ({"priority": 3, "tags": ("a,b", "c")}, ["PRIORITY:1", "CATEGORIES:a\\,b,c", "STATUS:NEEDS-ACTION"]),
    ],
)
def test_a_task_becomes_these_lines(members: dict[str, Any], lines: list[str]) -> None:
    assert set(lines) <= set(_unfolded(written(**members)))
    todo(**members)  # icalendar parses it
