"""Export formats: JSON that can be imported again, and CSV for spreadsheets (export_icalendar.py has iCalendar).

Each is a generator of bytes, one piece for a task.
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
"""The member `format` of an exported document."""

_COLUMNS = (
    *("id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "created_at", "updated_at"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a cell that a spreadsheet evaluates (OWASP, CSV injection), with their full-width forms."""


def as_json(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Serialize to one JSON document, `{"format": "taskapi", "tasks": […]}`, with one task per line.

    A task has the members of `TaskOut` and its `occurrence`. Yields to other requests.
    """
    yield b'{"format":"%s","tasks":[' % FORMAT.encode()
    separator = b"\n"
    for row in yielding(rows, every=100):
        yield separator + orjson.dumps({**task_out.dump(row), "occurrence": row.occurrence})
        separator = b",\n"
    yield b"\n]}\n"


def as_csv(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Serialize to CSV with a header (RFC 4180), in UTF-8 with a byte order mark; no cell is a formula.

    A task has the members in `_COLUMNS` only. Yields to other requests.
    """
    yield b"\xef\xbb\xbf" + _csv_line(_COLUMNS)
    for row in yielding(rows, every=50):
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
