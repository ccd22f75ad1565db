"""The orders of a list, each with the sort key at which the next page continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, tuple_

from ..models import Task

_KEYS: dict[str, tuple[Any, ...]] = {
    # Ids are given in the order of creation, so newest first is a walk down the primary key.
    "created_at": (Task.id,),
    "updated_at": (Task.revision, Task.id),
    "title": (Task.folded_title, Task.id),
    "priority": (Task.priority, Task.id),
    "position": (Task.position, Task.id),
    "due": (Task.due_order, Task.id),
}
_UNDATED = case((Task.due_order == "", 1), else_=0)
"""Tasks without a due date come last, whichever way the others are sorted."""


@dataclass(frozen=True)
class Order:
    """A total order with its keyset: `keys` run all in one direction, after the undated have been put last."""

    keys: tuple[Any, ...]
    descending: bool
    undated_last: bool

    @classmethod
    @cache
    def of(cls, sort: str) -> Order:
        """The order that a value of `SORTS` means."""
        word = sort.removeprefix("-")
        undated_last = word == "due"
        keys = ((_UNDATED,) if undated_last else ()) + _KEYS[word]
        return cls(keys, sort.startswith("-"), undated_last)

    @property
    def clauses(self) -> list[Any]:
        """The ORDER BY."""
        first, rest = (self.keys[:1], self.keys[1:]) if self.undated_last else ((), self.keys)
        return [*first, *(key.desc() if self.descending else key for key in rest)]

    def beyond(self, place: Sequence[Any]) -> ColumnElement[bool]:
        """What comes after a place, with NULLs nowhere and every key's own type (or the driver would guess it)."""
        if not self.undated_last:
            return self._compare(self.keys, place)
        undated, rest = self.keys[0], self.keys[1:]
        return or_(undated > place[0], and_(undated == place[0], self._compare(rest, place[1:])))

    def _compare(self, keys: tuple[Any, ...], place: Sequence[Any]) -> ColumnElement[bool]:
        here, there = tuple_(*keys), tuple_(*place, types=[key.type for key in keys])
        return here < there if self.descending else here > there
