"""Export formats: JSON (which can be imported), CSV (for spreadsheets) and iCalendar, each as a stream of bytes.

A task at a time is serialized, so an export of any size needs bounded memory.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import orjson

from ...concurrency.cooperative import yielding
from ...http.fields.time import LAST_DAY
from ..schemas import task_out
from ..statements.rows import TaskRow

if TYPE_CHECKING:
    from icalendar import Todo, vRecur

FORMAT = "taskapi"
"""The member `format` of an exported document."""

_COLUMNS = (
    *("id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "created_at", "updated_at"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a cell that a spreadsheet evaluates (OWASP, CSV injection), with their full-width forms."""

_PRIORITY = {0: 0, 1: 9, 2: 5, 3: 1}
"""PRIORITY by stored priority (RFC 5545, section 3.8.1.9): 1 is highest, 9 lowest, 0 undefined."""


def as_json(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Serialize to one JSON document, `{"format": "taskapi", "tasks": […]}`, with one task per line."""
    yield b'{"format":"%s","tasks":[' % FORMAT.encode()
    separator = b"\n"
    for row in yielding(rows, every=100):
        yield separator + orjson.dumps({**task_out.dump(row), "occurrence": row.occurrence})
        separator = b",\n"
    yield b"\n]}\n"


def as_csv(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Serialize to CSV with a header (RFC 4180), in UTF-8 with a byte order mark; no cell is a formula."""
    yield b"\xef\xbb\xbf" + _csv_line(_COLUMNS)
    for row in yielding(rows, every=100):
        members = {**task_out.dump(row), "tags": ", ".join(row.tags)}
        yield _csv_line([_csv_cell(members[name]) for name in _COLUMNS])


def _csv_line(cells: Iterable[str]) -> bytes:
    """Encode one line of CSV."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _csv_cell(value: object) -> str:
    """Format a value as a cell: null empty, booleans in lower case, a quote before text that would be a formula."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_icalendar(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Serialize to iCalendar (RFC 5545): a VTODO for each task.

    The VTIMEZONE of a zone precedes the first recurring task in that zone.
    """
    yield b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskapi//EN\r\n"
    described = {"UTC"}
    for row in yielding(rows, every=10):
        if _is_recurring(row) and row.due_at and row.time_zone not in described:
            described.add(row.time_zone)
            yield _timezone(row.time_zone)
        yield _vtodo(row).to_ical()
    yield b"END:VCALENDAR\r\n"


@cache
def _timezone(name: str) -> bytes:
    """Return the VTIMEZONE of an IANA time zone. Building one takes 10 ms; the cache of all 600 zones has 750 KB."""
    from icalendar import Timezone  # noqa: PLC0415  imported on first use, so that a server starts without it

    time.sleep(0)
    component: bytes = Timezone.from_tzid(name).to_ical()
    return component


def _vtodo(row: TaskRow) -> Todo:
    """Return the VTODO component of a task (RFC 5545, section 3.6.2)."""
    from icalendar import Todo  # noqa: PLC0415

    todo = Todo()
    todo.add("uid", f"{row.user_id}-{row.id}@taskapi")
    todo.add("dtstamp", row.updated_at)
    todo.add("created", row.created_at)
    todo.add("last-modified", row.updated_at)
    todo.add("summary", row.title)
    todo.add("status", "COMPLETED" if row.completed else "NEEDS-ACTION")
    todo.add("priority", _PRIORITY[row.priority])
    if row.description:
        todo.add("description", row.description)
    if row.tags:
        todo.add("categories", list(row.tags))
    if row.completed_at:
        todo.add("completed", row.completed_at)
    if row.due_date:
        if _is_recurring(row):
            # RRULE needs a DTSTART (section 3.8.5.3), and DUE must be later than DTSTART (3.8.2.3), so DUE is left out.
            start = _dtstart(row)
            todo.add("dtstart", start)
            todo.add("rrule", _rrule(row, start))
        else:
            todo.add("due", _due(row))
    return todo


def _is_recurring(row: TaskRow) -> bool:
    """Return True for an open task with a recurrence rule; of a completed one the next task carries the rule."""
    return row.recurrence is not None and not row.completed


def _dtstart(row: TaskRow) -> date | datetime:
    """Return the due date in local time of its zone: in UTC, RRULE would shift with daylight saving and weekdays."""
    due = _due(row)
    return due.astimezone(ZoneInfo(row.time_zone)) if isinstance(due, datetime) and row.due_at else due


def _rrule(row: TaskRow, start: date | datetime) -> vRecur:
    """Return the RRULE of the rest of the series: COUNT without earlier tasks, UNTIL not before this task."""
    from icalendar import vRecur  # noqa: PLC0415

    rule: vRecur = vRecur.from_ical(row.recurrence)
    if "COUNT" in rule:
        # COUNT includes earlier tasks of the series. An imported task may come after the last one: at least 1.
        rule["COUNT"] = [max(1, rule["COUNT"][0] - (row.occurrence or 1) + 1)]
    if "UNTIL" in rule:
        # UNTIL is not before the due date, even if an imported series ended earlier, and not after LAST_DAY: the end of
        # 9999-12-31 in a zone west of UTC overflows Python's datetime in UTC.
        last = min(max(rule["UNTIL"][0], row.due_date), LAST_DAY)
        rule["UNTIL"] = [_until(last, start)]
    return rule


def _until(day: date, start: date | datetime) -> date | datetime:
    """Return UNTIL at the end of `day`, with the type of DTSTART; in UTC if DTSTART has a zone (section 3.3.10)."""
    if not isinstance(start, datetime):
        return day
    last = datetime.combine(day, clock.max.replace(microsecond=0), start.tzinfo)
    return last.astimezone(UTC) if start.tzinfo else last


def _due(row: TaskRow) -> date | datetime:
    """Return the due date: a date, a datetime in UTC if the task has a time zone, or a floating datetime."""
    if row.due_at:
        moment: datetime = row.due_at
        return moment
    if row.due_time:
        return datetime.combine(row.due_date, clock.fromisoformat(row.due_time))
    day: date = row.due_date
    return day
