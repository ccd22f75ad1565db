"""Tasks as other programs read them: JSON that imports again, CSV for spreadsheets, iCalendar for calendars.

Each is a stream of pieces of text, of one task at a time.
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

_COLUMNS = (
    *("id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "created_at", "updated_at"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet would compute (OWASP, CSV injection), the signs of East Asian width too."""

_PRIORITY = {0: 0, 1: 9, 2: 5, 3: 1}
"""RFC 5545, section 3.8.1.9: 1 is highest, 9 lowest, 0 undefined."""


def as_json(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """One document, `{"format": "taskapi", "tasks": […]}`, a task a line."""
    yield b'{"format":"%s","tasks":[' % FORMAT.encode()
    separator = b"\n"
    for row in yielding(rows, every=100):
        yield separator + orjson.dumps({**task_out.dump(row), "occurrence": row.occurrence})
        separator = b",\n"
    yield b"\n]}\n"


def as_csv(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """RFC 4180 with a header, in UTF-8 with the mark that spreadsheets know it by; no cell is ever a formula."""
    yield b"\xef\xbb\xbf" + _csv_line(_COLUMNS)
    for row in yielding(rows, every=100):
        members = {**task_out.dump(row), "tags": ", ".join(row.tags)}
        yield _csv_line([_csv_cell(members[name]) for name in _COLUMNS])


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _csv_cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_icalendar(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """RFC 5545: a VTODO for each task, and before the first that repeats in a time zone its VTIMEZONE."""
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
    """The VTIMEZONE of a time zone. Building one takes 10 ms, so it is kept: 750 KB for all 600 zones."""
    from icalendar import Timezone  # noqa: PLC0415  not above: a server starts without it

    time.sleep(0)
    described: bytes = Timezone.from_tzid(name).to_ical()
    return described


def _vtodo(row: TaskRow) -> Todo:
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
            # A recurrence counts from a start (section 3.8.5.3), and what is due must be so later (3.8.2.3).
            start = _dtstart(row)
            todo.add("dtstart", start)
            todo.add("rrule", _rrule(row, start))
        else:
            todo.add("due", _due(row))
    return todo


def _is_recurring(row: TaskRow) -> bool:
    return row.recurrence is not None and not row.completed


def _dtstart(row: TaskRow) -> date | datetime:
    """As due, but by the clock of its zone: in UTC the rule would drift with summer time, or mean another weekday."""
    due = _due(row)
    return due.astimezone(ZoneInfo(row.time_zone)) if isinstance(due, datetime) and row.due_at else due


def _rrule(row: TaskRow, start: date | datetime) -> vRecur:
    from icalendar import vRecur  # noqa: PLC0415

    rule: vRecur = vRecur.from_ical(row.recurrence)
    if "COUNT" in rule:
        # Those before this one are over. An imported task may be behind the last of its series: COUNT is never below 1.
        rule["COUNT"] = [max(1, rule["COUNT"][0] - (row.occurrence or 1) + 1)]
    if "UNTIL" in rule:
        # This task is due even if its series ended before. No task is due after LAST_DAY, and the last day that Python
        # knows, 9999-12-31, has no equivalent in UTC for a zone west of it.
        last = min(max(rule["UNTIL"][0], row.due_date), LAST_DAY)
        rule["UNTIL"] = [_until(last, start)]
    return rule


def _until(day: date, start: date | datetime) -> date | datetime:
    """The end of the last day: of the type of the start, or in UTC if that has a zone (section 3.3.10)."""
    if not isinstance(start, datetime):
        return day
    last = datetime.combine(day, clock.max.replace(microsecond=0), start.tzinfo)
    return last.astimezone(UTC) if start.tzinfo else last


def _due(row: TaskRow) -> date | datetime:
    """A date stays a date; with a zone it is an instant, without one the time on any wall."""
    if row.due_at:
        moment: datetime = row.due_at
        return moment
    if row.due_time:
        return datetime.combine(row.due_date, clock.fromisoformat(row.due_time))
    day: date = row.due_date
    return day
