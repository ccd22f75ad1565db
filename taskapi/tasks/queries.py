"""Every statement on tasks. The first parameter is always the user, and every WHERE starts with `user_id`.

A write counts the user's revision up first, which locks the user's row: writes of one user stand in line, those of
different users never meet. Then one UPDATE compares and sets; there is no read that a decision could be stale on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, case, false, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..db import UTCDateTime, db, execute, now, reads, writes
from . import models
from .models import Task
from .selection import Selection, fold

TaskRow = Row[Any]
"""The columns that `_COLUMNS` names: what a task shows of itself."""

Place = tuple[Any, ...]
"""Where a page ended: the sort key of its last row."""

_COLUMNS = (
    Task.user_id,
    Task.id,
    Task.revision,
    Task.title,
    Task.description,
    Task.completed,
    Task.completed_at,
    Task.created_at,
    Task.updated_at,
)

_KEYS: dict[str, tuple[Any, ...]] = {
    # Ids are given in the order of creation, so newest first is a walk down the primary key.
    "created_at": (Task.id,),
    "updated_at": (Task.revision, Task.id),
    "title": (Task.folded_title, Task.id),
}


class Absent(Exception):
    """The user has no such task."""


class Changed(Exception):
    """The task is not of a version that the caller expects; `current` is what it is."""

    def __init__(self, current: TaskRow) -> None:
        super().__init__()
        self.current = current


@dataclass(frozen=True)
class State:
    """Where a user's data stands: `revision` grows by one with every write."""

    revision: int
    epoch: str

    @property
    def etag(self) -> str:
        return f'"{self.revision}"'


@dataclass(frozen=True)
class Page:
    """Some rows in order; `end` is the place to go on from, None if nothing follows."""

    rows: Sequence[TaskRow]
    end: Place | None


@reads
def state(user: User) -> State:
    """The user's revision, from one row found by its primary key."""
    row = execute(select(models.User.revision, models.User.epoch).where(models.User.user_id == user.id)).one_or_none()
    # Who never wrote has a new epoch each time: no cursor was ever signed with it, and nobody can forge one.
    return State(row.revision, row.epoch) if row else State(0, models.new_epoch())


@reads
def page(user: User, selection: Selection, after: Place | None) -> Page:
    """The next `selection.limit` tasks after a place, by keyset: rows that come or go elsewhere shift nothing."""
    keys, descending = _order(selection)
    query = select(*_COLUMNS, *keys).where(*_selected(user, selection))
    if after is not None:
        place, here = tuple_(*keys), tuple_(*after)
        query = query.where(place < here if descending else place > here)
    query = query.order_by(*(key.desc() if descending else key for key in keys)).limit(selection.limit + 1)
    rows = execute(query).all()
    shown = rows[: selection.limit]
    return Page(shown, tuple(shown[-1])[-len(keys) :] if len(rows) > len(shown) else None)


@reads
def count(user: User, selection: Selection) -> int:
    """How many tasks all pages of a selection hold."""
    return int(execute(select(func.count()).select_from(Task).where(*_selected(user, selection))).scalar_one())


@reads
def find(user: User, id: int, expected: Set[int] | None = None) -> TaskRow:
    """The user's task of this id. Raises `Absent`, or `Changed` if its version is not among those expected."""
    row = execute(select(*_COLUMNS).where(*_live(user, id))).one_or_none()
    if row is None:
        raise Absent
    if expected is not None and row.revision not in expected:
        raise Changed(row)
    return row


@writes
def add(user: User, values: Mapping[str, Any]) -> TaskRow:
    """A new task, with the next id of the user's own counter."""
    counters = execute(_upsert_counters(user)).one()
    moment = now()
    completed = values.get("completed", False)
    row = {
        "description": None,
        **values,
        **_folded(values),
        "user_id": user.id,
        "id": counters.last_task_id,
        "revision": counters.revision,
        "completed": completed,
        "completed_at": moment if completed else None,
        "created_at": moment,
        "updated_at": moment,
    }
    return execute(insert(Task).values(row).returning(*_COLUMNS)).one()


@writes
def change(user: User, id: int, expected: Set[int] | None, values: Mapping[str, Any]) -> TaskRow:
    """Set some members of a task; if they have these values already, nothing changes, the version included."""
    moment = now()
    columns: dict[str, Any] = {**values, **_folded(values), "updated_at": moment}
    if "completed" in values:
        columns["completed_at"] = func.coalesce(Task.completed_at, moment) if values["completed"] else None
    differs = or_(false(), *(getattr(Task, name).is_distinct_from(value) for name, value in values.items()))
    return _set(user, id, expected, columns, only_if=differs)


@writes
def toggle(user: User, id: int, expected: Set[int] | None) -> TaskRow:
    """Flip completion, in the statement itself: of two racing flips neither is lost."""
    moment = now()
    completed_at = case((Task.completed, None), else_=literal(moment, UTCDateTime))
    return _set(user, id, expected, {"completed": ~Task.completed, "completed_at": completed_at, "updated_at": moment})


@writes
def remove(user: User, id: int, expected: Set[int] | None) -> None:
    """Put a task into the trash."""
    moment = now()
    _set(user, id, expected, {"deleted_at": moment, "updated_at": moment})


def _set(
    user: User,
    id: int,
    expected: Set[int] | None,
    columns: Mapping[str, Any],
    *,
    only_if: ColumnElement[bool] | None = None,
) -> TaskRow:
    """Compare and set in one statement; what stood in the way is looked at only when nothing was set."""
    revision = execute(_count_revision(user, 1)).scalar_one_or_none()
    if revision is None:
        raise Absent
    conditions = [*_live(user, id)]
    if expected is not None:
        conditions.append(Task.revision.in_(expected))
    if only_if is not None:
        conditions.append(only_if)
    statement = update(Task).where(*conditions).values(**columns, revision=revision)
    row = execute(statement.returning(*_COLUMNS)).one_or_none()
    if row is None:
        row = find(user, id, expected)
        # It is as it should be already. The count goes back, under the lock that this transaction still holds.
        execute(_count_revision(user, -1))
    return row


def _upsert_counters(user: User) -> Any:
    dialect = {"sqlite": sqlite, "postgresql": postgresql}[db.engine.dialect.name]
    first = dialect.insert(models.User).values(user_id=user.id, revision=1, last_task_id=1)
    return first.on_conflict_do_update(
        index_elements=[models.User.user_id],
        set_={"revision": models.User.revision + 1, "last_task_id": models.User.last_task_id + 1},
    ).returning(models.User.revision, models.User.last_task_id)


def _count_revision(user: User, by: int) -> Any:
    counted = update(models.User).where(models.User.user_id == user.id).values(revision=models.User.revision + by)
    return counted.returning(models.User.revision)


def _live(user: User, id: int) -> tuple[ColumnElement[bool], ...]:
    return Task.user_id == user.id, Task.id == id, Task.deleted_at.is_(None)


def _selected(user: User, selection: Selection) -> list[ColumnElement[bool]]:
    conditions = [Task.user_id == user.id, Task.deleted_at.is_(None)]
    if selection.completed is not None:
        conditions.append(Task.completed.is_(selection.completed))
    if selection.q is not None:
        found = (
            column.contains(selection.q, autoescape=True) for column in (Task.folded_title, Task.folded_description)
        )
        conditions.append(or_(*found))
    return conditions


def _order(selection: Selection) -> tuple[tuple[Any, ...], bool]:
    return _KEYS[selection.sort.removeprefix("-")], selection.sort.startswith("-")


def _folded(values: Mapping[str, Any]) -> dict[str, str | None]:
    """The search columns that go with the members about to be written."""
    folded: dict[str, str | None] = {}
    for name in ("title", "description"):
        if name in values:
            folded[f"folded_{name}"] = None if values[name] is None else fold(values[name])
    return folded
