"""Filters, sort and page size of the task list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property

ORDERS = ("created_at", "updated_at", "due", "priority", "title", "position")

INDEXED = ("created_at", "updated_at")
"""The `ORDERS` that an index of the table has: a page is read without sorting all tasks."""

ALIASES = {"created": "created_at", "updated": "updated_at", "due_date": "due"}
"""Alternative spellings of values of `ORDERS` in the query parameter `sort`."""

SORTS = {sign + name: sign + ALIASES.get(name, name) for name in (*ORDERS, *ALIASES) for sign in ("", "-")}
"""Each allowed value of the query parameter `sort` and its canonical form (`-created` -> `-created_at`)."""


@dataclass(frozen=True)
class Selection:
    """Parsed query parameters of a task list: page size, sort, filters and cursor.

    `sort` is a value of `SORTS`. `completed` None selects open and completed tasks. `q` is folded with `fold`, `tags`
    with `str.casefold`. `priorities` are numbers from `PRIORITIES`. `completed_from` (inclusive) and `completed_before`
    (exclusive) are in UTC, so that equal times have equal `signed_filters`. `overdue_in` is the IANA time zone whose
    local time decides which tasks are overdue; None selects all. `trash` selects the tasks in the trash instead of the
    live ones.
    """

    limit: int
    sort: str = "-created_at"
    completed: bool | None = None
    q: str | None = None
    priorities: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    due_from: date | None = None
    due_to: date | None = None
    completed_from: datetime | None = None
    completed_before: datetime | None = None
    no_due: bool = False
    overdue_in: str | None = None
    trash: bool = False
    cursor: str | None = None
    with_total: bool = False

    @cached_property
    def is_unfiltered(self) -> bool:
        """True if the list is of all live tasks, in any order: no filter is set and the trash is not selected."""
        return self == Selection(self.limit, self.sort, cursor=self.cursor, with_total=self.with_total)

    @cached_property
    def reads_all_tasks(self) -> bool:
        """True if the database may read all tasks of the user for one page, so that the request is a long read.

        That is so with a filter, with the total, and in an order without an index (`INDEXED`).
        """
        return not self.is_unfiltered or self.with_total or self.sort.removeprefix("-") not in INDEXED

    @cached_property
    def signed_filters(self) -> str:
        """Text of the sort and all filters, which the signature of a cursor includes; without limit and cursor."""
        return repr(replace(self, limit=0, cursor=None, with_total=False))
