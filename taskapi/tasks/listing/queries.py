"""Queries of the list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import cycle, islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    bindparam,
    func,
    or_,
    select,
)

from ...auth.tokens import User
from ...database.base import now
from ...database.lists import has_every
from ...database.prepared import BoundStatement, Prepared, Rows
from ...database.unit_of_work import execute, fetch, reads
from ..members import PRIORITIES
from ..models import Task
from ..overdue import overdue
from ..pages import KeysetValues, Page, Walk, longest_short
from ..state import SELECT_STATE, State, read_state, state_of
from ..statements.rows import OWNER, TaskRow
from .orders import Order
from .search import contains
from .selection import Selection


@reads
def page(user: User, selection: Selection, after: KeysetValues | None) -> Page:
    """The next `selection.limit` tasks after a place, by keyset: rows that come or go elsewhere shift nothing.

    The descriptions of long tasks are left out: see `pages`, and `long_page`.
    """
    if selection.is_plain:
        (rows,) = fetch(_short_page(user, selection, after))
    else:
        walk = _walk(user, selection, after)
        rows = execute(walk.short(selection.limit + 1, longest_short(selection.limit))).all()
    return _page(rows, selection)


@reads
def long_page(user: User, selection: Selection, after: KeysetValues | None, short: Page) -> Page:
    """The page that was read without its long tasks, with them; it may end earlier then, at about `MAX_BYTES`."""

    def read(most: int, most_bytes: int) -> Sequence[TaskRow]:
        if selection.is_plain:
            values = {**_place_values(after), "owner": user.id, "most": most, "bytes": most_bytes}
            return fetch(_plain_long_page(selection.sort, after is not None)(**values))[0]
        return execute(_walk(user, selection, after).bounded(most, most_bytes)).all()

    return short.whole(read)


@reads
def state_and_page(user: User, selection: Selection, after: KeysetValues | None) -> tuple[State, Page]:
    """Where the user's data stands, and a page of it; `state` and `page` in one round trip if it is plain."""
    if selection.is_plain:
        found, rows = fetch(SELECT_STATE(owner=user.id), _short_page(user, selection, after))
        stands, selected = state_of(found), _page(rows, selection)
    else:
        stands, selected = read_state(user), page(user, selection, after)
    _last_state(user.id)[:] = [stands]
    return stands, selected


def last_state(user: User) -> State | None:
    """Where the user's data stood when this worker saw a page of it last, if it remembers."""
    return next(iter(_last_state(user.id)), None)


@lru_cache(maxsize=4096)
def _last_state(_user_id: str) -> list[State]:
    # A place for each user. What stands in it may be old, or of another database: it is compared before it counts.
    return []


def _page(rows: Rows, selection: Selection) -> Page:
    return Page.of(rows, selection.limit, len(Order.of(selection.sort).keys))


def _short_page(user: User, selection: Selection, after: KeysetValues | None) -> BoundStatement:
    limit = selection.limit
    bounds = {"most": limit + 1, "longest": longest_short(limit)}
    if after is None:
        return _unfiltered_page(selection.sort, False)(owner=user.id, **bounds)
    return _unfiltered_page(selection.sort, True)(owner=user.id, **bounds, **_place_values(after))


def _place_values(after: KeysetValues | None) -> dict[str, Any]:
    return {f"place{number}": key for number, key in enumerate(after or ())}


@cache
def _unfiltered_page(sort: str, goes_on: bool) -> Prepared:  # noqa: FBT001
    """A page of all that is not in the trash, from the beginning or from a place."""
    return Prepared(_plain_walk(sort, goes_on=goes_on).short(_MOST, bindparam("longest", type_=Integer)))


@cache
def _plain_long_page(sort: str, goes_on: bool) -> Prepared:  # noqa: FBT001
    return Prepared(_plain_walk(sort, goes_on=goes_on).bounded(_MOST, bindparam("bytes", type_=Integer)))


_MOST = bindparam("most", type_=Integer)


def _plain_walk(sort: str, *, goes_on: bool) -> Walk:
    order = Order.of(sort)
    place: list[Any] = [bindparam(f"place{number}") for number in range(len(order.keys))]
    conditions = [Task.user_id == OWNER, Task.deleted_at.is_(None), *([order.beyond(place)] if goes_on else [])]
    return Walk(conditions, order.keys, order.clauses)


def _walk(user: User, selection: Selection, after: KeysetValues | None) -> Walk:
    order = Order.of(selection.sort)
    conditions = [*_conditions(user, selection), *([] if after is None else [order.beyond(after)])]
    return Walk(conditions, order.keys, order.clauses)


@reads
def count(user: User, selection: Selection) -> int:
    """How many tasks all pages of a selection hold."""
    return int(execute(select(func.count()).select_from(Task).where(*_conditions(user, selection))).scalar_one())


def _conditions(user: User, selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Task.user_id == user.id]
    if selection.trash:
        conditions += [Task.deleted_at.is_not(None), Task.purged_at.is_(None)]
    else:
        conditions.append(Task.deleted_at.is_(None))
    if selection.completed is not None:
        conditions.append(Task.completed.is_(selection.completed))
    if selection.priorities:
        # Always as many as there are priorities: the text of the statement must not depend on how many were sent.
        conditions.append(Task.priority.in_([*islice(cycle(selection.priorities), len(PRIORITIES))]))
    if selection.tags:
        conditions.append(has_every(Task.folded_tags, [f"\n{tag}\n" for tag in selection.tags]))
    if selection.due_from is not None:
        conditions.append(Task.due_date >= selection.due_from)
    if selection.due_to is not None:
        conditions.append(Task.due_date <= selection.due_to)
    if selection.no_due:
        conditions.append(Task.due_date.is_(None))
    if selection.overdue_in is not None:
        conditions.append(overdue(selection.overdue_in, now()))
    if selection.q is not None:
        texts = (Task.folded_title, Task.folded_description)
        conditions.append(or_(*(contains(text, selection.q) for text in texts)))
    return conditions
