"""Which tasks a list shows and in which order, with the folding that search and sort by title rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

ORDERS = ("created_at", "updated_at", "due", "priority", "title", "position")


ALIASES = {"created": "created_at", "due_date": "due"}


SORTS = {sign + word: sign + ALIASES.get(word, word) for word in (*ORDERS, *ALIASES) for sign in ("", "-")}
"""Every spelling of `sort` and the one it means."""


@dataclass(frozen=True)
class Selection:
    """What is asked for. `q` and `tags` are folded; `completed` None means both; `sort` is a value of `SORTS`.

    `overdue_in` names the time zone by whose clock the tasks are overdue.
    """

    limit: int
    sort: str = "-created_at"
    completed: bool | None = None
    q: str | None = None
    priorities: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    due_from: date | None = None
    due_to: date | None = None
    no_due: bool = False
    overdue_in: str | None = None
    trash: bool = False
    cursor: str | None = None
    with_total: bool = False

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is all that is not in the trash."""
        return self == Selection(self.limit, self.sort, cursor=self.cursor, with_total=self.with_total)

    @cached_property
    def filters(self) -> str:
        """What a cursor is bound to: it continues this walk and no other."""
        return repr(replace(self, limit=0, cursor=None, with_total=False))
