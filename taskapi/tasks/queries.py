"""Looking at tasks and changing them. The first parameter is always the user, and every WHERE starts with `user_id`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
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

from ..auth.tokens import User
from ..database.base import now
from ..database.lists import has_every
from ..database.prepared import BoundStatement, Prepared, Rows
from ..database.unit_of_work import execute, fetch, reads, writes
from . import models, stored
from .listing.orders import KeysetValues, Order
from .listing.overdue import overdue
from .listing.pages import Page, Walk, longest_short
from .listing.search import contains
from .listing.selection import PRIORITIES, Selection
from .models import Task
from .recurrence import schedule, series
from .statements import (
    COLUMNS,
    OWNER,
    TASK,
    TaskNotFound,
    TaskRow,
    VersionConflict,
    bump_revision,
    insert_next,
    search_columns,
    set_members,
    toggle_completed,
)


@dataclass(frozen=True)
class State:
    """Where a user's data stands: `revision` grows by one with every write."""

    revision: int
    epoch: str
    sync_floor: int = 0

    @property
    def epoch_id(self) -> str:
        """Names the epoch without telling it."""
        return _epoch_id(self.epoch)

    @property
    def etag(self) -> str:
        """The version of all the user's data; the epoch tells apart what a purged user's counters count again."""
        return f'"{self.revision}.{self.epoch_id if self.revision else 0}"'


@lru_cache(maxsize=4096)
def _epoch_id(epoch: str) -> str:
    return hashlib.sha256(epoch.encode()).hexdigest()[:8]


_STATE = Prepared(
    select(models.User.revision, models.User.epoch, models.User.sync_floor).where(models.User.user_id == OWNER)
)
_TASK = Prepared(select(*COLUMNS).where(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)))
_LOCK = Prepared(select(models.User.revision).where(models.User.user_id == OWNER).with_for_update())


@reads
def state(user: User) -> State:
    """The user's revision, from one row found by its primary key."""
    (found,) = fetch(_STATE(owner=user.id))
    return _state(found)


def _state(found: Rows) -> State:
    # Who never wrote has a new epoch each time: no cursor was ever signed with it, and none can be forged.
    return State(*found[0]) if found else State(0, models.new_epoch())


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
        found, rows = fetch(_STATE(owner=user.id), _short_page(user, selection, after))
        stands, selected = _state(found), _page(rows, selection)
    else:
        stands, selected = state(user), page(user, selection, after)
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


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """The user's task of this id. Raises `TaskNotFound`, and `VersionConflict` for a version that is not expected."""
    (rows,) = fetch(_TASK(owner=user.id, task=id))
    return _found(rows, expected)


def _found(rows: Rows, expected: Set[int] | None) -> TaskRow:
    if not rows:
        raise TaskNotFound
    row = rows[0]
    if expected is not None and row.revision not in expected:
        raise VersionConflict(row)
    return row


@writes
def add(user: User, values: Mapping[str, Any]) -> TaskRow:
    """A new task, with the next id of the user's own counter. Raises `QuotaExceeded`."""
    row = insert_next(user, now(), values)
    stored.check_stored_tasks_after(user, row.id)
    return row


@writes
def change(user: User, id: int, expected: Set[int] | None, values: Mapping[str, Any]) -> TaskRow:
    """Set some members of a task; if they have these values already, nothing changes, the version included.

    Raises `TaskNotFound`, `VersionConflict`, and ValidationError for members about time that contradict those not sent.
    """
    moment = now()
    columns = {**values, **search_columns(values)}
    if schedule.changes_schedule(values):
        current = _lock_and_find(user, id, expected)
        version: int | None = current.revision
        before = {name: getattr(current, name) for name in schedule.SCHEDULE_MEMBERS}
        after = {name: values.get(name, before[name]) for name in schedule.SCHEDULE_MEMBERS}
        columns |= {**after, **schedule.derive_due_columns(after)}
        schedule.check_next_occurrence(after, before)
    else:
        version = resolve_if_match(user, id, expected)
    row = set_members(user, id, version, moment, columns)
    if row is None:
        row = find(user, id, expected)
        # It is as it should be already. The count goes back, under the lock that this transaction still holds.
        bump_revision(user, -1)
        return row
    return series.sync_series(user, row, moment) if "completed" in values else row


@writes
def toggle(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Toggle `completed` atomically (SET completed = NOT completed), and create or remove the next task of a series.

    Raises `TaskNotFound` and `VersionConflict`.
    """
    moment = now()
    row = toggle_completed(user, id, resolve_if_match(user, id, expected), moment)
    if row is None:
        row = find(user, id, expected)  # says what stands in the way
    return series.sync_series(user, row, moment)


@writes  # part of one: it may lock
def resolve_if_match(user: User, id: int, expected: Set[int] | None) -> int | None:
    """The version that a task must have to be written, None for any.

    Of several it is the current one, which a lock keeps until the end of the transaction. Raises `TaskNotFound` and
    `VersionConflict`.
    """
    if expected is None:
        return None
    if len(expected) == 1:
        (version,) = expected
    else:
        version = _lock_and_find(user, id, expected).revision
    return version


def _lock_and_find(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Lock the user's row and find the task. Raises `TaskNotFound` and `VersionConflict`."""
    locked, rows = fetch(_LOCK(owner=user.id), _TASK(owner=user.id, task=id))
    return _found(rows if locked else (), expected)


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
