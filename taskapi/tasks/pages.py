"""Read the rows of a page within a number of rows and of bytes: a thousand of the longest tasks are 45 MB.

A page is read with one statement as long as its tasks are short. That statement leaves the descriptions of long tasks
out and gives their sizes instead, which costs nothing measurable. Only a page with a long task is read a second time,
with a running sum of bytes that ends it: on a page of short tasks that sum would cost half of the statement's time.
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

from .models import Task
from .statements.rows import COLUMNS, TaskRow

KeysetValues = tuple[Any, ...]
"""Where a page ended: the sort key of its last row."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a page, about: with the task that would exceed it the next page begins."""

ROW_BYTES = 512
"""Bytes of a task in JSON without its title, description and tags, at most."""

SHORT_TASK, SHORT_PAGE = 2 * 1024, 128 * 1024
"""Bytes of text up to which a task is short, on a long page; on a page of few tasks more: all together have as much as
the latter."""


class _OctetLength(FunctionElement[int]):
    """The bytes of a text in UTF-8. PostgreSQL knows them without decompressing the text."""

    inherit_cache = True
    type = Integer()


@compiles(_OctetLength, "postgresql")
def _octet_length(element: _OctetLength, compiler: SQLCompiler, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(_OctetLength, "sqlite")
def _length_of_blob(element: _OctetLength, compiler: SQLCompiler, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"  # octet_length is of 3.43


class _Greater(FunctionElement[int]):
    """The greater one of two numbers."""

    inherit_cache = True
    type = Integer()


@compiles(_Greater, "postgresql")
def _greatest(element: _Greater, compiler: SQLCompiler, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


@compiles(_Greater, "sqlite")
def _max(element: _Greater, compiler: SQLCompiler, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


SIZE = _OctetLength(Task.title) + func.coalesce(_OctetLength(Task.description), 0) + _OctetLength(Task.tags)
_LONG = itemgetter(len(COLUMNS))
"""The column after those of a task: its size if it is long, otherwise NULL."""


@dataclass(frozen=True)
class Walk:
    """The rows of a page as a statement has them: which, by which key, in which order.

    `most`, `longest` and `most_bytes` are numbers or `bindparam`s.
    """

    conditions: Sequence[ColumnElement[bool]]
    keys: Sequence[Any]
    order_by: Sequence[Any]

    def short(self, most: Any, longest: Any) -> Select[Any]:
        """The first rows, without the description of tasks that have more than `longest` bytes of text."""
        description = case((longest >= SIZE, Task.description)).label("description")
        columns = [description if column is Task.description else column for column in COLUMNS]
        # As few sizes as possible: for each SQLite reads all of a text.
        long = func.nullif(_Greater(SIZE, longest), longest).label("long")
        return select(*columns, long, *self.keys).where(*self.conditions).order_by(*self.order_by).limit(most)

    def bounded(self, most: Any, most_bytes: Any) -> Select[Any]:
        """The first rows whole, as many as have no more bytes together than that."""
        keys = {f"key{number}": key for number, key in enumerate(self.keys)}
        total = func.sum(SIZE + ROW_BYTES).over(order_by=self.order_by, rows=(None, 0)).label("total")
        rows = (
            select(*COLUMNS, total, *(key.label(name) for name, key in keys.items()))
            .where(*self.conditions)
            .order_by(*self.order_by)
            .limit(most)
            .subquery("page")
        )
        columns = [*(column.key for column in COLUMNS), "total", *keys]
        return select(*(rows.c[name] for name in columns)).where(rows.c.total <= most_bytes).order_by(rows.c.total)


def longest_short(limit: int) -> int:
    """The bytes of text up to which a task is short on a page of so many."""
    return max(SHORT_TASK, SHORT_PAGE // limit)


class Page(NamedTuple):
    """Some rows in order, the `last` of them, and the one that follows, None if nothing does.

    `keys` is how many columns at the end of a row are its sort key.
    """

    rows: Sequence[TaskRow]
    last: TaskRow | None
    following: TaskRow | None
    keys: int

    @classmethod
    def of(cls, rows: Sequence[TaskRow], limit: int, keys: int) -> Page:
        """The page that the rows of a statement are, of which one more was asked for than are shown."""
        if len(rows) > limit:
            return cls(rows[:limit], rows[limit - 1], rows[limit], keys)
        return cls(rows, rows[-1] if rows else None, None, keys)

    @property
    def end(self) -> KeysetValues | None:
        """The place after which the next page begins."""
        return None if self.following is None or self.last is None else tuple(self.last)[-self.keys :]

    @property
    def has_long(self) -> bool:
        """Whether a description was left out, so that the page must be read again."""
        return any(map(_LONG, self.rows))

    @property
    def long_bytes(self) -> int:
        """The bytes of its long tasks."""
        return sum(_LONG(row) or 0 for row in self.rows)

    def first(self, count: int) -> Page:
        """The page that ends after so many rows, at least one."""
        if count >= len(self.rows):
            return self
        return Page(self.rows[:count], self.rows[count - 1], self.rows[count], self.keys)

    def whole(self, read: Callable[[int, int], Sequence[TaskRow]], most_bytes: int = MAX_BYTES) -> Page:
        """This page with its long tasks, as far as it has no more bytes; `read(most, most_bytes)` gives its rows."""
        sizes = accumulate((_LONG(row) or 0) + ROW_BYTES for row in self.rows)
        most = max(1, sum(1 for _ in takewhile(most_bytes.__ge__, sizes)))
        rows = read(most, most_bytes)
        before = [*self.rows, *([] if self.following is None else [self.following])]
        # If all were deleted meanwhile the next page still begins after those that were there.
        last = rows[-1] if rows else before[most - 1]
        return Page(rows, last, before[len(rows)] if len(rows) < len(before) else None, self.keys)


def fragments(items: Iterable[Any]) -> list[orjson.Fragment]:
    """The items as JSON, as many as have no more than `MAX_BYTES` together, at least one: a quote has two in JSON."""
    found: list[orjson.Fragment] = []
    size = 0
    for item in items:
        text = orjson.dumps(item)
        size += len(text) + 1
        if found and size > MAX_BYTES:
            break
        found.append(orjson.Fragment(text))
    return found
