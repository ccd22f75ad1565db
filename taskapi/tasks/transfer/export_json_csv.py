"""Export formats: JSON that can be imported again, and CSV for spreadsheets (export_icalendar.py has iCalendar).

Each is a generator of bytes, one piece for a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from ...concurrency.cooperative import yielding
from ..schemas import task_out
from ..statements.rows import TaskRow
from .csv_cells import COLUMNS, csv_line, escape, join_tags

FORMAT = "taskapi"
"""The member `format` of an exported document."""


def as_json(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Yield the bytes of one JSON document, `{"format": "taskapi", "tasks": […]}`, with one task per line.

    A task has the members of `TaskOut` and its `occurrence`. Yields to other requests after each 100 tasks.
    """
    yield b'{"format":"%s","tasks":[' % FORMAT.encode()
    separator = b"\n"
    for row in yielding(rows, every=100):
        yield separator + orjson.dumps({**task_out.dump(row), "occurrence": row.occurrence})
        separator = b",\n"
    yield b"\n]}\n"


def as_csv(rows: Iterable[TaskRow]) -> Iterator[bytes]:
    """Yield the lines of a CSV file with a header (RFC 4180), in UTF-8 with a byte order mark; no cell is a formula.

    A task has the members in `COLUMNS` only. Yields to other requests after each 50 tasks.
    """
    yield b"\xef\xbb\xbf" + csv_line(COLUMNS)
    for row in yielding(rows, every=50):
        members = {**task_out.dump(row), "tags": join_tags(row.tags) or None}
        yield csv_line([_cell(members[name]) for name in COLUMNS])


def _cell(value: object) -> str:
    """Format a value as a cell: "" for None, `true` or `false`, other values as text that `escape` has returned."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return escape(str(value))
