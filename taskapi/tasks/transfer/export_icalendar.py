"""Write tasks as iCalendar (RFC 5545): a VTODO for each, and a VTIMEZONE for each time zone.

The lines are written here and not by `icalendar`, which takes 0.4 ms for a task: 4 s for 10,000. The tests read the
result with `icalendar` and `vobject`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ...concurrency.cooperative import yielding_by_size
from ..statements.rows import TaskRow
from .remaining_rules import remaining_rule
from .time_zones import vtimezone

MAX_LINE_BYTES = 75
"""Octets of a line without its line break; a longer one is folded (section 3.1)."""

_PRIORITY = {0: 0, 1: 9, 2: 5, 3: 1}
"""The priority by section 3.8.1.9: 1 is highest, 9 lowest, 0 undefined."""

_ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": "\\n"})
"""What stands for a character of a TEXT value (section 3.3.11)."""


def as_icalendar(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Yield the bytes of one VCALENDAR: a VTODO for each task, with a VTIMEZONE before the first in its time zone.

    Yields to other requests between tasks. A completed task has no RRULE.
    """
    yield b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskapi//EN\r\n"
    described = {None, "UTC"}
    for row in yielding_by_size(rows, every=50, size=_work):
        if row.due_time and row.time_zone not in described:
            described.add(row.time_zone)
            yield vtimezone(row.time_zone)
        yield b"".join(map(_fold_line, _vtodo(row)))
    yield b"END:VCALENDAR\r\n"


def _work(row: TaskRow) -> int:
    """Return the work on a task, of which `as_icalendar` does 50 before it yields to other requests.

    It is 1 (about 50 µs), and 1 more for each full 500 characters of the description, which are folded.
    """
    return 1 + len(row.description or "") // 500


def _vtodo(row: TaskRow) -> Iterator[str]:
    """Yield the content lines of a task's VTODO, properties in alphabetical order, not folded, without line breaks."""
    yield "BEGIN:VTODO"
    if row.tags:
        yield f"CATEGORIES:{','.join(map(_text, row.tags))}"
    if row.completed_at:
        yield f"COMPLETED:{_format_utc(row.completed_at)}"
    yield f"CREATED:{_format_utc(row.created_at)}"
    if row.description is not None:
        yield f"DESCRIPTION:{_text(row.description)}"
    changed = _format_utc(row.updated_at)
    yield f"DTSTAMP:{changed}"
    recurring = _is_recurring(row)
    if row.due_date:
        due = _due(row)
        if recurring:
            # A recurrence counts from DTSTART (section 3.8.5.3); programs for tasks show DUE. Both are equal, as in the
            # files of Apple: by section 3.8.2.3 DUE is later, but then one of them is on a day that the rule excludes.
            yield f"DTSTART{due}"
        yield f"DUE{due}"
    yield f"LAST-MODIFIED:{changed}"
    yield f"PRIORITY:{_PRIORITY[row.priority]}"
    if recurring:
        yield f"RRULE:{_rrule(row)}"
    yield f"STATUS:{'COMPLETED' if row.completed else 'NEEDS-ACTION'}"
    yield f"SUMMARY:{_text(row.title)}"
    yield f"UID:{_text(row.user_id)}-{row.id}@taskapi"
    # What an import of this file needs, and iCalendar has no property for: times have whole seconds, a date no zone.
    times = (row.created_at, row.updated_at, row.completed_at)
    yield f"X-TASKAPI-MILLISECONDS:{','.join(str(time.microsecond // 1000) for time in times if time)}"
    if row.recurrence:
        yield f"X-TASKAPI-REPEAT-FROM:{row.repeat_from}"
    if row.time_zone and not row.due_time:
        yield f"X-TASKAPI-TIME-ZONE:{row.time_zone}"
    yield "END:VTODO"


def _fold_line(line: str) -> bytes:
    """Encode a content line with CRLF, folded: divided where it exceeds `MAX_LINE_BYTES` (section 3.1).

    It is never divided within a character.
    """
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
    """Escape a text for a TEXT value: backslash, semicolon, comma and line breaks (section 3.3.11)."""
    return value.replace("\r\n", "\n").translate(_ESCAPED)


def _format_utc(time: datetime) -> str:
    """Format a datetime that is in UTC as DATE-TIME, such as 20261231T235959Z; does not convert."""
    return f"{time:%Y%m%dT%H%M%S}Z"


def _is_recurring(row: TaskRow) -> bool:
    """Return True if a task gets an RRULE: it has a rule and a due date, and is not completed."""
    return row.recurrence is not None and row.due_date is not None and not row.completed


def _due(row: TaskRow) -> str:
    """Return the parameters and the value of DUE, from the `;` or `:` after its name: a date or a local time.

    A local time has the task's time zone as TZID (`Z` for UTC), or none. In UTC a rule would drift with daylight saving
    time, or mean another weekday.
    """
    if not row.due_time:
        return f";VALUE=DATE:{row.due_date:%Y%m%d}"
    local = f"{row.due_date:%Y%m%d}T{row.due_time[:2]}{row.due_time[3:]}00"
    if not row.time_zone:
        return f":{local}"  # section 3.3.5: floating
    return f":{local}Z" if row.time_zone == "UTC" else f";TZID={row.time_zone}:{local}"


def _rrule(row: TaskRow) -> str:
    """Return the `remaining_rule` of a task; with a due time its UNTIL is a time (`_until`), otherwise a date."""
    rule = remaining_rule(row)
    return re.sub("(?<=UNTIL=)[0-9]{8}", lambda match: _until(match[0], row), rule) if row.due_time else rule


def _until(day: str, row: TaskRow) -> str:
    """Return UNTIL as the end of `day` (`YYYYMMDD`) in the task's time zone, in UTC; without one as a local time.

    UNTIL must have the type of DTSTART, and be in UTC if that has a time zone (section 3.3.10).
    """
    if not row.time_zone:
        return f"{day}T235959"
    last = datetime.fromisoformat(f"{day}T235959").replace(tzinfo=ZoneInfo(row.time_zone))
    return _format_utc(last.astimezone(UTC))
