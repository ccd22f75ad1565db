"""Write tasks as iCalendar (RFC 5545): a VTODO for each, and a VTIMEZONE for the time zones of recurring tasks.

The lines are written here and not by `icalendar`, which takes 0.4 ms for a task: 4 s for 10,000. The tests compare the
result with that of `icalendar`, which still makes the time zones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from functools import cache
from zoneinfo import ZoneInfo

from ...concurrency.cooperative import wait_for_turn, yielding_by_size
from ...http.fields.time import LAST_DAY
from ..recurrence import rrule
from ..statements.rows import TaskRow

MAX_LINE_BYTES = 75
"""Octets of a line without its line break; a longer one is folded (section 3.1)."""

_PRIORITY = {0: 0, 1: 9, 2: 5, 3: 1}
"""The priority by section 3.8.1.9: 1 is highest, 9 lowest, 0 undefined."""

_ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": "\\n"})
"""What stands for a character of a TEXT value (section 3.3.11)."""


def as_icalendar(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Yield one VCALENDAR: a VTODO for each task, and before the first that recurs in a time zone its VTIMEZONE.

    Yields to other requests between tasks.
    """
    yield b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskapi//EN\r\n"
    described = {"UTC"}
    for row in yielding_by_size(rows, every=50, size=_work):
        if _is_recurring(row) and row.due_at and row.time_zone not in described:
            described.add(row.time_zone)
            yield _vtimezone(row.time_zone)
        yield b"".join(map(_fold_line, _vtodo(row)))
    yield b"END:VCALENDAR\r\n"


def _work(row: TaskRow) -> int:
    """Return the work on a task: 1 (about 50 µs), and 1 for each full 500 characters of description, to be folded."""
    return 1 + len(row.description or "") // 500


@cache
def _vtimezone(name: str) -> bytes:
    """Return the VTIMEZONE of a time zone. Building one takes 10 ms, so it is cached: 750 KB for all 600 zones.

    Yields to other requests before that.
    """
    from icalendar import Timezone  # noqa: PLC0415  not above: a server starts without it

    wait_for_turn()
    described: bytes = Timezone.from_tzid(name).to_ical()
    return described


def _vtodo(row: TaskRow) -> Iterator[str]:
    """Yield the content lines of a VTODO, in alphabetical order of their properties."""
    yield "BEGIN:VTODO"
    if row.tags:
        yield f"CATEGORIES:{','.join(map(_text, row.tags))}"
    if row.completed_at:
        yield f"COMPLETED:{_format_utc(row.completed_at)}"
    yield f"CREATED:{_format_utc(row.created_at)}"
    if row.description:
        yield f"DESCRIPTION:{_text(row.description)}"
    changed = _format_utc(row.updated_at)
    yield f"DTSTAMP:{changed}"
    recurring = _is_recurring(row)
    if row.due_date:
        # A recurrence counts from a start (section 3.8.5.3), and DUE would have to be later than that (3.8.2.3).
        yield f"DTSTART{_dtstart(row)}" if recurring else f"DUE{_due(row)}"
    yield f"LAST-MODIFIED:{changed}"
    yield f"PRIORITY:{_PRIORITY[row.priority]}"
    if recurring:
        yield f"RRULE:{_rrule(row)}"
    yield f"STATUS:{'COMPLETED' if row.completed else 'NEEDS-ACTION'}"
    yield f"SUMMARY:{_text(row.title)}"
    yield f"UID:{_text(row.user_id)}-{row.id}@taskapi"
    yield "END:VTODO"


def _fold_line(line: str) -> bytes:
    """Encode a content line, divided where it exceeds `MAX_LINE_BYTES`, never within a character (section 3.1)."""
    data = line.encode()
    if len(data) <= MAX_LINE_BYTES:
        return data + b"\r\n"
    pieces, start, room = [], 0, MAX_LINE_BYTES
    while len(data) - start > room:
        end = start + room
        while data[end] & 0xC0 == 0x80:  # a continuation byte of UTF-8
            end -= 1
        pieces.append(data[start:end])
        start, room = end, MAX_LINE_BYTES - 1  # a space precedes the following pieces
    pieces.append(data[start:])
    return b"\r\n ".join(pieces) + b"\r\n"


def _text(value: str) -> str:
    """Escape a TEXT value (section 3.3.11)."""
    return value.replace("\r\n", "\n").translate(_ESCAPED)


def _format_utc(time: datetime) -> str:
    """Format a datetime that is in UTC as DATE-TIME, such as 20261231T235959Z; does not convert."""
    return f"{time:%Y%m%dT%H%M%S}Z"


def _is_recurring(row: TaskRow) -> bool:
    """Return True for an open task with a rule and a due date: it gets an RRULE, a completed one does not."""
    return row.recurrence is not None and row.due_date is not None and not row.completed


def _due(row: TaskRow) -> str:
    """Return the parameters and the value of DUE: a date, an instant in UTC, or a local time without a time zone."""
    if row.due_at:
        return f":{_format_utc(row.due_at)}"
    return f":{_floating(row)}" if row.due_time else f";VALUE=DATE:{row.due_date:%Y%m%d}"


def _dtstart(row: TaskRow) -> str:
    """Return the parameters and the value of DTSTART: an instant in its time zone, or as `_due` without a time zone.

    In UTC the rule would drift with daylight saving time, or mean another weekday.
    """
    if not row.due_at:
        return _due(row)
    if row.time_zone == "UTC":
        return f":{_format_utc(row.due_at)}"
    return f";TZID={row.time_zone}:{row.due_at.astimezone(ZoneInfo(row.time_zone)):%Y%m%dT%H%M%S}"


def _floating(row: TaskRow) -> str:
    """Return due date and time as a local time without a time zone (RFC 5545, section 3.3.5: floating)."""
    return f"{datetime.combine(row.due_date, clock.fromisoformat(row.due_time)):%Y%m%dT%H%M%S}"


def _rrule(row: TaskRow) -> str:
    """Return the rule, counted from this task: COUNT is what is left (at least 1), UNTIL not before the due date.

    UNTIL is a date, a local time, or in UTC if DTSTART has a zone (`_until`); it is not after `LAST_DAY`.
    """
    parts = dict(part.split("=", 1) for part in row.recurrence.split(";"))
    if "COUNT" in parts:
        # An imported task may be behind the last of its series: COUNT is never below 1.
        parts["COUNT"] = str(max(1, int(parts["COUNT"]) - (row.occurrence or 1) + 1))
    if "UNTIL" in parts:
        # This task is due even if its series ended before. No task is due after LAST_DAY, and the last day that Python
        # knows, 9999-12-31, has no equivalent in UTC for a zone west of it.
        last = rrule.last_day(parts["UNTIL"], row.due_time, row.time_zone)
        parts["UNTIL"] = _until(min(max(last, row.due_date), LAST_DAY), row)
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _until(day: date, row: TaskRow) -> str:
    """Return UNTIL, the end of the last day: of the type of DTSTART, or in UTC if that has a zone (section 3.3.10)."""
    if not row.due_time:
        return f"{day:%Y%m%d}"
    last = datetime.combine(day, clock.max.replace(microsecond=0))
    if row.due_at:
        return _format_utc(last.replace(tzinfo=ZoneInfo(row.time_zone)).astimezone(UTC))
    return f"{last:%Y%m%dT%H%M%S}"
