"""Pages limited by rows and by bytes: a page of 1,000 tasks of maximum length would have 45 MB.

The first statement selects the rows of a page. For long tasks it returns the size instead of the description, which has
no measurable cost. Only a page that contains a long task is read again, by a statement that adds up the bytes with a
window function and ends the page at the limit. On a page of short tasks that sum would take half of the statement's
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Integer, Select, case, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ..concurrency.cooperative import yielding
from .models import Task
from .statements.rows import COLUMNS, TaskRow

KeysetValues = tuple[Any, ...]
"""Where a page ended: the sort key of its last row."""

MAX_BYTES = 4 * 1024 * 1024
"""Approximate maximum size of a page in bytes; the task that would exceed it starts the next page."""

ROW_BYTES = 512
"""Maximum size in bytes of a task in JSON without its title, description and tags."""

SHORT_TASK, SHORT_PAGE = 2 * 1024, 128 * 1024
"""A task is short if its text has at most SHORT_TASK bytes, or, on a page of few tasks, SHORT_PAGE divided by the page
size (if that is more)."""


SERIALIZED_AT_A_TIME = 50
"""Tasks of a page with long texts that are serialized before other requests run: 1 ms, and 2 ms for the longest."""


class _OctetLength(FunctionElement[int]):
    """SQL function: length of a text in bytes of UTF-8, which PostgreSQL gets without decompressing the text."""

    inherit_cache = True
    type = Integer()


@compiles(_OctetLength, "postgresql")
def _octet_length(element: _OctetLength, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `_OctetLength` for PostgreSQL, to `octet_length`."""
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(_OctetLength, "sqlite")
def _length_of_blob(element: _OctetLength, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `_OctetLength` for SQLite, to the length of a BLOB: it has `octet_length` only from 3.43 on."""
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


class _Greater(FunctionElement[int]):
    """SQL function: the greater of two numbers."""

    inherit_cache = True
    type = Integer()


@compiles(_Greater, "postgresql")
def _greatest(element: _Greater, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `_Greater` for PostgreSQL, to `greatest`."""
    return f"greatest({compiler.process(element.clauses, **options)})"


@compiles(_Greater, "sqlite")
def _max(element: _Greater, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `_Greater` for SQLite, to `max` with two arguments."""
    return f"max({compiler.process(element.clauses, **options)})"


TEXT_BYTES = _OctetLength(Task.title) + func.coalesce(_OctetLength(Task.description), 0) + _OctetLength(Task.tags)
"""SQL expression: the bytes of a task's title, description and tags."""
_long_size = itemgetter(len(COLUMNS))
"""Get the column after those of a task from a row: the `TEXT_BYTES` of a long task, None for a short one."""


@dataclass(frozen=True)
class PageQuery:
    """The conditions, the sort key and the ORDER BY of a page; its methods make the statements that read its rows.

    Their parameters `max_rows`, `max_text_bytes` and `max_bytes` are numbers or `bindparam`s.
    """

    conditions: Sequence[ColumnElement[bool]]
    keys: Sequence[Any]
    order_by: Sequence[Any]

    def short(self, max_rows: Any, max_text_bytes: Any) -> Select[Any]:
        """Return the statement of the first `max_rows` rows; the description of tasks over `max_text_bytes` is NULL.

        A row has the columns of a task, its `TEXT_BYTES` if they are over `max_text_bytes` (otherwise NULL), and the
        sort key.
        """
        description = case((max_text_bytes >= TEXT_BYTES, Task.description)).label("description")
        columns = [description if column is Task.description else column for column in COLUMNS]
        # Use TEXT_BYTES as few times as possible: SQLite reads the whole text for each occurrence.
        long = func.nullif(_Greater(TEXT_BYTES, max_text_bytes), max_text_bytes).label("long")
        return select(*columns, long, *self.keys).where(*self.conditions).order_by(*self.order_by).limit(max_rows)

    def bounded(self, max_rows: Any, max_bytes: Any) -> Select[Any]:
        """Return the statement of the first rows, at most `max_rows`, that fit into `max_bytes` with all descriptions.

        The bytes of a row are its `TEXT_BYTES` and `ROW_BYTES`; no row is returned if the first exceeds `max_bytes`. A
        row has the columns of a task, the sum of bytes up to and including it, and the sort key.
        """
        keys = {f"key{number}": key for number, key in enumerate(self.keys)}
        total = func.sum(TEXT_BYTES + ROW_BYTES).over(order_by=self.order_by, rows=(None, 0)).label("total")
        rows = (
            select(*COLUMNS, total, *(key.label(name) for name, key in keys.items()))
            .where(*self.conditions)
            .order_by(*self.order_by)
            .limit(max_rows)
            .subquery("page")
        )
        columns = [*(column.key for column in COLUMNS), "total", *keys]
        return select(*(rows.c[name] for name in columns)).where(rows.c.total <= max_bytes).order_by(rows.c.total)


def max_short_bytes(limit: int) -> int:
    """Return the maximum bytes of text of a short task on a page of `limit` tasks: see `SHORT_TASK`."""
    return max(SHORT_TASK, SHORT_PAGE // limit)


class Page(NamedTuple):
    """The rows of a page in order, the `last` of them, and the `following` row, which starts the next page.

    `following` is None on the last page, `last` on an empty page, unless `read_long` found its rows deleted. `keys` is
    the number of columns at the end of a row that are its sort key.
    """

    rows: Sequence[TaskRow]
    last: TaskRow | None
    following: TaskRow | None
    keys: int

    @classmethod
    def from_rows(cls, rows: Sequence[TaskRow], limit: int, keys: int) -> Page:
        """Return the page of up to `limit` rows; `rows` has one more, the `following` one, unless the page is the last.

        A statement with LIMIT `limit + 1` has returned them; the last `keys` columns of a row are its sort key.
        """
        if len(rows) > limit:
            return cls(rows[:limit], rows[limit - 1], rows[limit], keys)
        return cls(rows, rows[-1] if rows else None, None, keys)

    @property
    def end(self) -> KeysetValues | None:
        """The keyset values after which the next page starts; None on the last page. `keys` must not be 0."""
        return None if self.following is None or self.last is None else tuple(self.last)[-self.keys :]

    @property
    def has_long(self) -> bool:
        """True if a row is a long task, whose description must be read again; only for a page of `PageQuery.short`."""
        return any(map(_long_size, self.rows))

    @property
    def long_bytes(self) -> int:
        """The sum of the bytes of text of the page's long tasks; only for a page of `PageQuery.short`."""
        return sum(_long_size(row) or 0 for row in self.rows)

    def truncated(self, count: int) -> Page:
        """Return the page of the first `count` rows (at least 1); the row after them starts the next page.

        Returns this page unchanged if it has no more than `count` rows.
        """
        if count >= len(self.rows):
            return self
        return Page(self.rows[:count], self.rows[count - 1], self.rows[count], self.keys)

    def read_long(self, read: Callable[[int, int], Sequence[TaskRow]], max_bytes: int = MAX_BYTES) -> Page:
        """Return this page, which must have a row, read again with all descriptions and ended at `max_bytes`.

        `read(max_rows, max_bytes)` executes the statement of `PageQuery.bounded` and returns its rows. The new page has
        no rows if they were deleted meanwhile; the next page then still starts after the rows first read.
        """
        sizes = accumulate((_long_size(row) or 0) + ROW_BYTES for row in self.rows)
        max_rows = max(1, sum(1 for _ in takewhile(max_bytes.__ge__, sizes)))
        rows = read(max_rows, max_bytes)
        before = [*self.rows, *([] if self.following is None else [self.following])]
        # If all rows were deleted between the two statements, the next page still starts after the rows first read.
        last = rows[-1] if rows else before[max_rows - 1]
        return Page(rows, last, before[len(rows)] if len(rows) < len(before) else None, self.keys)


def json_fragments(items: Iterable[Any]) -> list[orjson.Fragment]:
    """Serialize items to JSON until they exceed `MAX_BYTES` together; return those that fit, and always the first.

    Yields to other requests. The sizes in SQL do not suffice: JSON escapes make a text longer; a quotation mark, for
    example, takes two bytes.
    """
    result: list[orjson.Fragment] = []
    size = 0
    for item in yielding(items, every=SERIALIZED_AT_A_TIME):
        text = orjson.dumps(item)
        size += len(text) + 1
        if result and size > MAX_BYTES:
            break
        result.append(orjson.Fragment(text))
    return result
