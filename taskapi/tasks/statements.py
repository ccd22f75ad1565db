"""What every statement on tasks is made of. Each names the user first: in its WHERE, or in the row it writes.

A write counts the user's revision up first, or locks the user's row before that: writes of one user stand in line,
those of different users never meet. So whatever is read after that, in the same transaction, stays true until its end.
Who has no row to lock has no task either, whatever another request adds meanwhile: `Absent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..db import UTCDateTime, db, execute, fetch, setting
from ..prepared import Call, Prepared
from . import models, positions, schedule
from .models import Task
from .selection import fold

TaskRow = Any
"""A named tuple of the columns that `COLUMNS` names: what a task shows of itself."""

Counters = Any
"""A named tuple of a user's revision, the id given last, and how many tasks are live."""

OWNER: BindParameter[str] = bindparam("owner")
TASK: BindParameter[int] = bindparam("task")
"""Whose a prepared statement is, and about which task."""

COLUMNS = (
    Task.user_id,
    Task.id,
    Task.revision,
    Task.title,
    Task.description,
    Task.completed,
    Task.completed_at,
    Task.priority,
    Task.tags,
    Task.due_date,
    Task.due_time,
    Task.time_zone,
    Task.due_at,
    Task.recurrence,
    Task.repeat_from,
    Task.series_id,
    Task.occurrence,
    Task.next_task_id,
    Task.position,
    Task.created_at,
    Task.updated_at,
    Task.deleted_at,
)

DEFAULTS: Mapping[str, Any] = {
    "description": None,
    "completed": False,
    "priority": 0,
    "tags": (),
    "due_date": None,
    "due_time": None,
    "time_zone": None,
    "recurrence": None,
    "repeat_from": "due",
}
"""What a new task has of everything that was not sent."""

TOMBSTONE: Mapping[str, Any] = {
    **DEFAULTS,
    "title": "",
    "completed_at": None,
    "due_at": None,
    "series_id": None,
    "occurrence": None,
    "next_task_id": None,
    "position": "",
    "folded_title": "",
    "folded_description": None,
    "folded_tags": (),
    "due_order": "",
}
"""What is left of a task when its content is gone: its id, so that it is never given again and the feed can tell."""


_COUNTERS = (models.User.revision, models.User.last_task_id, models.User.live_tasks)

_TASKS, _FLOOR = bindparam("tasks", type_=BigInteger), bindparam("floor", type_=BigInteger)

_COUNT_UP = Prepared(
    update(models.User)
    .where(models.User.user_id == OWNER)
    .values(
        revision=models.User.revision + bindparam("by", type_=BigInteger),
        last_task_id=models.User.last_task_id + bindparam("ids", type_=BigInteger),
        live_tasks=models.User.live_tasks + bindparam("live", type_=BigInteger),
    )
    .returning(*_COUNTERS)
)

_CLAIM = {
    dialect.__name__.rpartition(".")[2]: Prepared(
        dialect.insert(models.User)
        .values(user_id=OWNER, epoch=bindparam("epoch"), revision=1, last_task_id=bindparam("first"), live_tasks=_TASKS)
        .on_conflict_do_update(
            index_elements=[models.User.user_id],
            set_={
                "revision": models.User.revision + 1,
                "last_task_id": case((models.User.last_task_id < _FLOOR, _FLOOR), else_=models.User.last_task_id)
                + _TASKS,
                "live_tasks": models.User.live_tasks + _TASKS,
            },
        )
        .returning(*_COUNTERS)
    )
    for dialect in (postgresql, sqlite)
}

# What follows is sent together with a statement that counts, and takes what it has counted from the row it has locked.

_COUNTED = {
    "user_id": models.User.user_id,
    "id": models.User.last_task_id,
    "revision": models.User.revision,
    "created_revision": models.User.revision,
    "position": positions.of_new_row(models.User.last_task_id),
}
_SENT = {
    name: bindparam(name, type_=Task.__table__.c[name].type)
    for name in (
        *DEFAULTS,
        *("title", "completed_at", "created_at", "updated_at", "due_at", "due_order"),
        *("folded_title", "folded_description", "folded_tags"),
    )
}

_INSERT_NEXT = Prepared(
    insert(Task)
    .from_select([*_COUNTED, *_SENT], select(*_COUNTED.values(), *_SENT.values()).where(models.User.user_id == OWNER))
    .returning(*COLUMNS)
)

_PARTS = {
    "title": ("title", "folded_title"),
    "description": ("description", "folded_description"),
    "completed": ("completed",),
    "priority": ("priority",),
    "tags": ("tags", "folded_tags"),
    "time": (*schedule.MEMBERS, "due_at", "due_order"),
}
"""What a change may set; the columns of a part are set together, or none of them."""

_SETS = {
    name: bindparam(f"sets_{part}", type_=Boolean)  # one for all of a part
    for part, names in _PARTS.items()
    for name in names
}
_UNSET = dict.fromkeys(_SETS) | {"tags": (), "folded_tags": ()}
"""Stands for what is not set, which nobody looks at."""

_VERSION, _MOMENT = bindparam("version", type_=BigInteger), bindparam("moment", type_=UTCDateTime)
_AIMED = (
    *(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)),
    or_(_VERSION.is_(None), Task.revision == _VERSION),
)
_WRITTEN = {
    "updated_at": _MOMENT,
    "revision": select(models.User.revision).where(models.User.user_id == OWNER).scalar_subquery(),
}

# One statement for every set of members: one for each set would be prepared on every connection.
_CHANGE = Prepared(
    update(Task)
    .where(
        *_AIMED,
        or_(*(_SETS[name] & Task.__table__.c[name].is_distinct_from(_SENT[name]) for name in ("title", *DEFAULTS))),
    )
    .values(
        **{name: case((sets, _SENT[name]), else_=Task.__table__.c[name]) for name, sets in _SETS.items()},
        completed_at=case(
            (~_SETS["completed"], Task.completed_at),
            (_SENT["completed"], func.coalesce(Task.completed_at, _MOMENT)),
            else_=None,
        ),
        **_WRITTEN,
    )
    .returning(*COLUMNS)
)

_FLIP = Prepared(
    update(Task)
    .where(*_AIMED)
    .values(completed=~Task.completed, completed_at=case((Task.completed, None), else_=_MOMENT), **_WRITTEN)
    .returning(*COLUMNS)
)

_REMOVE = Prepared(update(Task).where(*_AIMED).values(deleted_at=_MOMENT, **_WRITTEN).returning(*COLUMNS))


class Absent(Exception):
    """The user has no such task."""


class Changed(Exception):
    """The task is not of a version that the caller expects; `current` is what it is."""

    def __init__(self, current: TaskRow) -> None:
        super().__init__()
        self.current = current


class QuotaExceeded(Exception):
    """The user would have more tasks than is allowed, outside of the trash or `in_trash`."""

    def __init__(self, quota: int, *, in_trash: bool = False) -> None:
        super().__init__()
        self.quota = quota
        self.in_trash = in_trash


REFUSALS = (Absent, Changed, QuotaExceeded, ValidationError)
"""What a statement module raises when it cannot do what was asked; nothing was changed then."""


def count_up(user: User, by: int = 1, *, ids: int = 0, live: int = 0) -> Counters:
    """Count the user's revision, and with it ids given and live tasks; this locks the user's row.

    Raises `Absent` for a user who never wrote, and so has no task, and `QuotaExceeded`.
    """
    (found,) = fetch(_COUNT_UP(owner=user.id, by=by, ids=ids, live=live))
    if not found:
        raise Absent
    if live > 0:
        check_quota(found[0])
    counters: Counters = found[0]
    return counters


def claim(user: User, tasks: int = 1, *, last_task_id: int = 0) -> Counters:
    """Count up for new tasks, making the user's row if it is not there.

    `last_task_id` is what the ids have come to at least, before those of these tasks. Raises `QuotaExceeded`.
    """
    (found,) = fetch(_claim(user, tasks, last_task_id))
    if tasks:
        check_quota(found[0])
    counters: Counters = found[0]
    return counters


def _claim(user: User, tasks: int, last_task_id: int = 0) -> Call:
    ids = {"floor": last_task_id, "first": last_task_id + tasks}
    return _CLAIM[db.engine.dialect.name](owner=user.id, epoch=models.new_epoch(), tasks=tasks, **ids)


def insert_next(user: User, moment: datetime, values: Mapping[str, Any]) -> TaskRow:
    """Count up for one new task and insert it; `values` are the members that were sent. Raises `QuotaExceeded`."""
    columns = content(moment, values)
    schedule.foresee(columns)
    (counters,), (row,) = fetch(_claim(user, 1), _INSERT_NEXT(owner=user.id, **columns))
    check_quota(counters)
    return row


def set_members(
    user: User, id: int, version: int | None, moment: datetime, columns: Mapping[str, Any]
) -> TaskRow | None:
    """Count up, compare and set; None if there is no such live task of that version, or nothing would change.

    Of a part of `_PARTS` either all columns are there or none. Raises `Absent` for a user who never wrote.
    """
    sets = {f"sets_{part}": names[0] in columns for part, names in _PARTS.items()}
    return _write(user, _CHANGE, id, version, moment, **{**_UNSET, **columns, **sets})


def flip(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Count up and flip a task's completion; None if there is no such live task of that version.

    Raises `Absent` for a user who never wrote.
    """
    return _write(user, _FLIP, id, version, moment)


def throw_away(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Count up and put a task into the trash; None if there is no such live task of that version.

    Raises `Absent` for a user who never wrote.
    """
    return _write(user, _REMOVE, id, version, moment, live=-1)


def _write(
    user: User, write: Prepared, id: int, version: int | None, moment: datetime, *, live: int = 0, **columns: Any
) -> TaskRow | None:
    counted, rows = fetch(
        _COUNT_UP(owner=user.id, by=1, ids=0, live=live),
        write(**columns, owner=user.id, task=id, version=version, moment=moment),
    )
    if not counted:
        raise Absent
    return rows[0] if rows else None


def check_quota(counters: Counters) -> None:
    """Refuse, and so roll back, what would exceed the quota."""
    quota: int = setting("MAX_TASKS_PER_USER")
    if counters.live_tasks > quota:
        raise QuotaExceeded(quota)


def new_row(user: User, id: int, revision: int, moment: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a new task; `values` are the members that were sent."""
    return {
        "position": positions.of_new(id),
        **content(moment, values),
        "user_id": user.id,
        "id": id,
        "revision": revision,
        "created_revision": revision,
    }


def content(moment: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that do not depend on which task it is."""
    members = {**DEFAULTS, **values}
    return {
        "completed_at": moment if members["completed"] else None,
        "created_at": moment,
        "updated_at": moment,
        **members,
        **schedule.settle(members),
        **folded(members),
    }


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Compare and set in one statement; None if there is no such task that meets the conditions."""
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()


def folded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The search columns that go with the members about to be written."""
    columns: dict[str, Any] = {}
    for name in ("title", "description"):
        if name in values:
            columns[f"folded_{name}"] = None if values[name] is None else fold(values[name])
    if "tags" in values:
        columns["folded_tags"] = tuple(tag.casefold() for tag in values["tags"])
    return columns
