"""Sort orders of the task list: the ORDER BY and the keyset condition of the next page for each value of `sort`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, tuple_

from ..models import Task

_KEYS: dict[str, tuple[Any, ...]] = {
    # Ids increase in the order of creation, so `-created_at` scans the primary key backward.
    "created_at": (Task.id,),
    "updated_at": (Task.revision, Task.id),
    "title": (Task.folded_title, Task.id),
    "priority": (Task.priority, Task.id),
    "position": (Task.position, Task.id),
    "due": (Task.due_order, Task.id),
}
_UNDATED = case((Task.due_order == "", 1), else_=0)
"""Sort key that puts tasks without a due date last, in ascending and in descending order."""


@dataclass(frozen=True)
class Order:
    """A total order of tasks. All `keys` have the same direction, except that tasks without a due date come last.

    `undated_last` is True if the first key is `_UNDATED`, which is ascending also in a descending order.
    """

    keys: tuple[Any, ...]
    descending: bool
    undated_last: bool

    @classmethod
    @cache
    def for_sort(cls, sort: str) -> Order:
        """Return the order of a value of `SORTS`, such as `-due`; a leading `-` means descending. Cached."""
        name = sort.removeprefix("-")
        undated_last = name == "due"
        keys = ((_UNDATED,) if undated_last else ()) + _KEYS[name]
        return cls(keys, sort.startswith("-"), undated_last)

    @property
    def order_by(self) -> list[Any]:
        """The expressions of the ORDER BY clause, each with its direction."""
        first, rest = (self.keys[:1], self.keys[1:]) if self.undated_last else ((), self.keys)
        return [*first, *(key.desc() if self.descending else key for key in rest)]

    def keyset_condition(self, keyset: Sequence[Any]) -> ColumnElement[bool]:
        """Return the WHERE condition of the rows that sort after the row with these keyset values.

        `keyset` has one value or `bindparam` for each of `keys`, none of which is NULL. Each value is bound with the
        type of its key, because otherwise the driver guesses the type.
        """
        if not self.undated_last:
            return self._compare(self.keys, keyset)
        undated, rest = self.keys[0], self.keys[1:]
        return or_(undated > keyset[0], and_(undated == keyset[0], self._compare(rest, keyset[1:])))

    def _compare(self, keys: tuple[Any, ...], keyset: Sequence[Any]) -> ColumnElement[bool]:
        """Return the SQL row-value comparison `(keys) > (keyset)`, or `<` in a descending order."""
        row_key, previous_key = tuple_(*keys), tuple_(*keyset, types=[key.type for key in keys])
        return row_key < previous_key if self.descending else row_key > previous_key
