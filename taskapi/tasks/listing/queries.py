"""SELECT statements of the task list: a page by keyset pagination, the number of all tasks, and the filters."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle, islice
from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, func, or_, select

from ...auth.tokens import User
from ...database.base import now
from ...database.lists import has_every
from ...database.prepared import BoundStatement, Prepared, Rows
from ...database.transactions import execute, fetch, reads
from ..members import PRIORITIES
from ..models import Task
from ..overdue import overdue
from ..pages import KeysetValues, Page, PageQuery, max_short_bytes
from ..state import SELECT_STATE, State, cache_state, read_state, state_of
from ..statements.rows import OWNER, TaskRow
from .orders import Order
from .search import contains
from .selection import Selection


@reads
def page(user: User, selection: Selection, after: KeysetValues | None) -> Page:
    """Read the first `selection.limit` tasks that sort after the keyset values `after`; from the start if it is None.

    Keyset pagination: inserts and deletions before the page do not shift it. In a long task the description is None: if
    the page has one (`Page.has_long`), read it again with `long_page`.
    """
    if selection.is_unfiltered:
        (rows,) = fetch(_bind_page(user, selection, after))
    else:
        query = _filtered_query(user, selection, after)
        rows = execute(query.short(selection.limit + 1, max_short_bytes(selection.limit))).all()
    return _make_page(rows, selection)


@reads
def long_page(user: User, selection: Selection, after: KeysetValues | None, short: Page) -> Page:
    """Read the page `short` again with all descriptions; it may end earlier, at about `pages.MAX_BYTES`.

    `page` has read `short` with the same `after`, and with this selection, at most with another limit. The page has no
    rows if they were deleted meanwhile.
    """

    def read(max_rows: int, max_bytes: int) -> Sequence[TaskRow]:
        """Read the first rows of the page with all descriptions, up to `max_rows`, and `max_bytes` together."""
        if selection.is_unfiltered:
            values = {**_keyset_binds(after), "owner": user.id, "max_rows": max_rows, "max_bytes": max_bytes}
            return fetch(_prepared_long_page(selection.sort, after is not None)(**values))[0]
        return execute(_filtered_query(user, selection, after).bounded(max_rows, max_bytes)).all()

    return short.read_long(read)


@reads
def state_and_page(user: User, selection: Selection, after: KeysetValues | None) -> tuple[State, Page]:
    """Read the user's state and a page, as `page` does; one round trip for a selection without filters.

    Caches the state for `last_state`. Without a row of the user the state has revision 0.
    """
    if selection.is_unfiltered:
        state_rows, rows = fetch(SELECT_STATE(owner=user.id), _bind_page(user, selection, after))
        state, selected = state_of(state_rows), _make_page(rows, selection)
    else:
        state, selected = read_state(user), page(user, selection, after)
    cache_state(user, state)
    return state, selected


def _make_page(rows: Rows, selection: Selection) -> Page:
    """Make a page of the rows of a statement with LIMIT `selection.limit + 1`; a row above the limit is `following`."""
    return Page.from_rows(rows, selection.limit, len(Order.for_sort(selection.sort).keys))


def _bind_page(user: User, selection: Selection, after: KeysetValues | None) -> BoundStatement:
    """Bind the statement that reads `selection.limit + 1` live tasks after `after`; it ignores the filters.

    The description of a long task is NULL (`PageQuery.short`).
    """
    limit = selection.limit
    bounds = {"max_rows": limit + 1, "max_text_bytes": max_short_bytes(limit)}
    if after is None:
        return _prepared_page(selection.sort, False)(owner=user.id, **bounds)
    return _prepared_page(selection.sort, True)(owner=user.id, **bounds, **_keyset_binds(after))


def _keyset_binds(after: KeysetValues | None) -> dict[str, Any]:
    """Return the values of the bind parameters `key0`, `key1`… of `_unfiltered_query`; {} for the first page."""
    return {f"key{number}": value for number, value in enumerate(after or ())}


@cache
def _prepared_page(sort: str, has_cursor: bool) -> Prepared:  # noqa: FBT001
    """Return the statement of a page of live tasks, NULL for the description of a long task (`pages`); cached."""
    query = _unfiltered_query(sort, has_cursor=has_cursor)
    return Prepared(query.short(_MAX_ROWS, bindparam("max_text_bytes", type_=Integer)))


@cache
def _prepared_long_page(sort: str, has_cursor: bool) -> Prepared:  # noqa: FBT001
    """Return the statement of a page of live tasks with all descriptions, limited by bytes; cached."""
    query = _unfiltered_query(sort, has_cursor=has_cursor)
    return Prepared(query.bounded(_MAX_ROWS, bindparam("max_bytes", type_=Integer)))


_MAX_ROWS = bindparam("max_rows", type_=Integer)


def _unfiltered_query(sort: str, *, has_cursor: bool) -> PageQuery:
    """Return the query of all live tasks, or of those after a cursor.

    Its bind parameters are the owner and, with `has_cursor`, the keyset values `key0`, `key1`…
    """
    order = Order.for_sort(sort)
    keyset: list[Any] = [bindparam(f"key{number}") for number in range(len(order.keys))]
    conditions = [
        Task.user_id == OWNER,
        Task.deleted_at.is_(None),
        *([order.keyset_condition(keyset)] if has_cursor else []),
    ]
    return PageQuery(conditions, order.keys, order.order_by)


def _filtered_query(user: User, selection: Selection, after: KeysetValues | None) -> PageQuery:
    """Return the query of the selected tasks that sort after the keyset values `after`; of all if it is None."""
    order = Order.for_sort(selection.sort)
    conditions = [*_conditions(user, selection), *([] if after is None else [order.keyset_condition(after)])]
    return PageQuery(conditions, order.keys, order.order_by)


@reads
def count(user: User, selection: Selection) -> int:
    """Count the tasks that match the filters of a selection, on all pages: cursor and limit do not matter."""
    return int(execute(select(func.count()).select_from(Task).where(*_conditions(user, selection))).scalar_one())


def _conditions(user: User, selection: Selection) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a selection without its cursor: owner, live or in the trash, each filter."""
    conditions: list[ColumnElement[bool]] = [Task.user_id == user.id]
    if selection.trash:
        conditions += [Task.deleted_at.is_not(None), Task.purged_at.is_(None)]
    else:
        conditions.append(Task.deleted_at.is_(None))
    if selection.completed is not None:
        conditions.append(Task.completed.is_(selection.completed))
    if selection.priorities:
        # Repeat the values up to the number of priorities, so that the text of the statement (a key of SQLAlchemy's and
        # psycopg's caches) does not depend on how many were sent.
        conditions.append(Task.priority.in_([*islice(cycle(selection.priorities), len(PRIORITIES))]))
    if selection.tags:
        conditions.append(has_every(Task.folded_tags, [f"\n{tag}\n" for tag in selection.tags]))
    bounds: tuple[tuple[Any, Callable[[Any, Any], ColumnElement[bool]], Any], ...] = (
        (Task.due_date, operator.ge, selection.due_from),
        (Task.due_date, operator.le, selection.due_to),
        (Task.completed_at, operator.ge, selection.completed_from),
        (Task.completed_at, operator.lt, selection.completed_before),
    )
    conditions += [compare(column, value) for column, compare, value in bounds if value is not None]
    if selection.no_due:
        conditions.append(Task.due_date.is_(None))
    if selection.overdue_in is not None:
        conditions.append(overdue(selection.overdue_in, now()))
    if selection.q is not None:
        texts = (Task.folded_title, Task.folded_description)
        conditions.append(or_(*(contains(text, selection.q) for text in texts)))
    return conditions
