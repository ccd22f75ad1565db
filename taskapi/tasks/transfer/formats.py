"""Tasks as other programs read them: JSON that imports again, CSV for spreadsheets, iCalendar for calendars.

Each is a stream of pieces of text, of one task at a time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import orjson

from ...concurrency.cooperative import yielding
from ..schemas import task_out
from ..statements.rows import TaskRow

FORMAT = "taskapi"

_COLUMNS = (
    *("id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "created_at", "updated_at"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet would compute (OWASP, CSV injection), the signs of East Asian width too."""


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
