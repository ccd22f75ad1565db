"""What every statement on tasks is made of. Each names the user first: in its WHERE, or in the row it writes.

A write counts the user's revision up first, or locks the user's row before that: writes of one user stand in line,
those of different users never meet. So whatever is read after that, in the same transaction, stays true until its end.
Who has no row to lock has no task either, whatever another request adds meanwhile: `TaskNotFound`.
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
from ..database.base import UTCDateTime, db
from ..database.prepared import BoundStatement, Prepared
from ..database.unit_of_work import execute, fetch, setting
from . import models, positions
from .listing.selection import fold
from .models import Task
from .recurrence import schedule

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

MAX_FOLDED = 20_000
"""Characters of a text that search looks at. Folding makes up to 18 of one (U+FDFA); ordinary text hardly grows."""

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

_BUMP_REVISION = Prepared(
    update(models.User)
    .where(models.User.user_id == OWNER)
    .values(
        revision=models.User.revision + bindparam("by", type_=BigInteger),
        last_task_id=models.User.last_task_id + bindparam("ids", type_=BigInteger),
        live_tasks=models.User.live_tasks + bindparam("live", type_=BigInteger),
    )
    .returning(*_COUNTERS)
)

_ALLOCATE = {
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

_COUNTER_COLUMNS = {
    "user_id": models.User.user_id,
    "id": models.User.last_task_id,
    "revision": models.User.revision,
    "created_revision": models.User.revision,
    "position": positions.initial_position_sql(models.User.last_task_id),
}
_BINDS = {
    name: bindparam(name, type_=Task.__table__.c[name].type)
    for name in (
        *DEFAULTS,
        *("title", "completed_at", "created_at", "updated_at", "due_at", "due_order"),
        *("folded_title", "folded_description", "folded_tags"),
    )
}

_INSERT_NEXT = Prepared(
    insert(Task)
    .from_select(
        [*_COUNTER_COLUMNS, *_BINDS],
        select(*_COUNTER_COLUMNS.values(), *_BINDS.values()).where(models.User.user_id == OWNER),
    )
    .returning(*COLUMNS)
)

_COLUMN_GROUPS = {
    "title": ("title", "folded_title"),
    "description": ("description", "folded_description"),
    "completed": ("completed",),
    "priority": ("priority",),
    "tags": ("tags", "folded_tags"),
    "time": (*schedule.SCHEDULE_MEMBERS, "due_at", "due_order"),
}
"""What a change may set; the columns of a part are set together, or none of them."""

_SETS = {
    name: bindparam(f"sets_{part}", type_=Boolean)  # one for all of a part
    for part, names in _COLUMN_GROUPS.items()
    for name in names
}
_UNCHANGED_BINDS = dict.fromkeys(_SETS) | {"tags": (), "folded_tags": ()}
"""Stands for what is not set, which nobody looks at."""

_VERSION, _MOMENT = bindparam("version", type_=BigInteger), bindparam("moment", type_=UTCDateTime)
_MATCHES_VERSION = (
    *(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)),
    or_(_VERSION.is_(None), Task.revision == _VERSION),
)
_STAMPS = {
    "updated_at": _MOMENT,
    "revision": select(models.User.revision).where(models.User.user_id == OWNER).scalar_subquery(),
}

# One statement for every set of members: one for each set would be prepared on every connection.
_CHANGE = Prepared(
    update(Task)
    .where(
        *_MATCHES_VERSION,
        or_(*(_SETS[name] & Task.__table__.c[name].is_distinct_from(_BINDS[name]) for name in ("title", *DEFAULTS))),
    )
    .values(
        **{name: case((sets, _BINDS[name]), else_=Task.__table__.c[name]) for name, sets in _SETS.items()},
        completed_at=case(
            (~_SETS["completed"], Task.completed_at),
            (_BINDS["completed"], func.coalesce(Task.completed_at, _MOMENT)),
            else_=None,
        ),
        **_STAMPS,
    )
    .returning(*COLUMNS)
)

_TOGGLE = Prepared(
    update(Task)
    .where(*_MATCHES_VERSION)
    .values(completed=~Task.completed, completed_at=case((Task.completed, None), else_=_MOMENT), **_STAMPS)
    .returning(*COLUMNS)
)

_REMOVE = Prepared(update(Task).where(*_MATCHES_VERSION).values(deleted_at=_MOMENT, **_STAMPS).returning(*COLUMNS))


class TaskNotFound(Exception):
    """The user has no such task."""


class VersionConflict(Exception):
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


DOMAIN_ERRORS = (TaskNotFound, VersionConflict, QuotaExceeded, ValidationError)
"""What a statement module raises when it cannot do what was asked; nothing was changed then."""


def bump_revision(user: User, by: int = 1, *, ids: int = 0, live: int = 0) -> Counters:
    """Count the user's revision, and with it ids given and live tasks; this locks the user's row.

    Raises `TaskNotFound` for a user who never wrote, and so has no task, and `QuotaExceeded`.
    """
    (found,) = fetch(_BUMP_REVISION(owner=user.id, by=by, ids=ids, live=live))
    if not found:
        raise TaskNotFound
    if live > 0:
        check_quota(found[0])
    counters: Counters = found[0]
    return counters


def allocate_ids(user: User, tasks: int = 1, *, last_task_id: int = 0) -> Counters:
    """Count up for new tasks, making the user's row if it is not there.

    `last_task_id` is what the ids have come to at least, before those of these tasks. Raises `QuotaExceeded`.
    """
    (found,) = fetch(_allocate_ids(user, tasks, last_task_id))
    if tasks:
        check_quota(found[0])
    counters: Counters = found[0]
    return counters


def _allocate_ids(user: User, tasks: int, last_task_id: int = 0) -> BoundStatement:
    ids = {"floor": last_task_id, "first": last_task_id + tasks}
    return _ALLOCATE[db.engine.dialect.name](owner=user.id, epoch=models.new_epoch(), tasks=tasks, **ids)


def insert_next(user: User, moment: datetime, values: Mapping[str, Any]) -> TaskRow:
    """Count up for one new task and insert it; `values` are the members that were sent. Raises `QuotaExceeded`."""
    columns = task_columns(moment, values)
    schedule.check_next_occurrence(columns)
    (counters,), (row,) = fetch(_allocate_ids(user, 1), _INSERT_NEXT(owner=user.id, **columns))
    check_quota(counters)
    return row


def set_members(
    user: User, id: int, version: int | None, moment: datetime, columns: Mapping[str, Any]
) -> TaskRow | None:
    """Count up, compare and set; None if there is no such live task of that version, or nothing would change.

    Of a group of `_COLUMN_GROUPS` either all columns are given or none. Raises `TaskNotFound` for a user without tasks.
    """
    sets = {f"sets_{part}": names[0] in columns for part, names in _COLUMN_GROUPS.items()}
    return _write(user, _CHANGE, id, version, moment, **{**_UNCHANGED_BINDS, **columns, **sets})


def toggle_completed(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Count up and flip a task's completion; None if there is no such live task of that version.

    Raises `TaskNotFound` for a user who never wrote.
    """
    return _write(user, _TOGGLE, id, version, moment)


def move_to_trash(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Count up and put a task into the trash; None if there is no such live task of that version.

    Raises `TaskNotFound` for a user who never wrote.
    """
    return _write(user, _REMOVE, id, version, moment, live=-1)


def _write(
    user: User, write: Prepared, id: int, version: int | None, moment: datetime, *, live: int = 0, **columns: Any
) -> TaskRow | None:
    counted, rows = fetch(
        _BUMP_REVISION(owner=user.id, by=1, ids=0, live=live),
        write(**columns, owner=user.id, task=id, version=version, moment=moment),
    )
    if not counted:
        raise TaskNotFound
    return rows[0] if rows else None


def check_quota(counters: Counters) -> None:
    """Refuse, and so roll back, what would exceed the quota."""
    quota: int = setting("MAX_TASKS_PER_USER")
    if counters.live_tasks > quota:
        raise QuotaExceeded(quota)


def new_row(user: User, id: int, revision: int, moment: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a new task; `values` are the members that were sent."""
    return {
        "position": positions.initial_position(id),
        **task_columns(moment, values),
        "user_id": user.id,
        "id": id,
        "revision": revision,
        "created_revision": revision,
    }


def task_columns(moment: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that do not depend on which task it is."""
    members = {**DEFAULTS, **values}
    return {
        "completed_at": moment if members["completed"] else None,
        "created_at": moment,
        "updated_at": moment,
        **members,
        **schedule.derive_due_columns(members),
        **search_columns(members),
    }


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Compare and set in one statement; None if there is no such task that meets the conditions."""
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()


def search_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The search columns that go with the members about to be written."""
    columns: dict[str, Any] = {}
    for name in ("title", "description"):
        if name in values:
            columns[f"folded_{name}"] = None if values[name] is None else fold(values[name])[:MAX_FOLDED]
    if "tags" in values:
        columns["folded_tags"] = tuple(tag.casefold() for tag in values["tags"])
    return columns
