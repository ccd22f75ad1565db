"""UPDATE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from ...auth.tokens import User
from ...database.base import UTCDateTime
from ...database.prepared import Prepared
from ...database.unit_of_work import execute, fetch
from .. import models
from ..members import DEFAULTS
from ..models import Task
from ..recurrence import schedule
from .counters import BUMP_REVISION
from .errors import TaskNotFound
from .rows import COLUMNS, MEMBER_BINDS, OWNER, TASK, TaskRow

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


_UNCHANGED = dict.fromkeys(_SETS) | {"tags": (), "folded_tags": ()}
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
        or_(
            *(
                _SETS[name] & Task.__table__.c[name].is_distinct_from(MEMBER_BINDS[name])
                for name in ("title", *DEFAULTS)
            )
        ),
    )
    .values(
        **{name: case((sets, MEMBER_BINDS[name]), else_=Task.__table__.c[name]) for name, sets in _SETS.items()},
        completed_at=case(
            (~_SETS["completed"], Task.completed_at),
            (MEMBER_BINDS["completed"], func.coalesce(Task.completed_at, _MOMENT)),
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


def set_members(
    user: User, id: int, version: int | None, moment: datetime, columns: Mapping[str, Any]
) -> TaskRow | None:
    """Count up, compare and set; None if there is no such live task of that version, or nothing would change.

    Of a group of `_COLUMN_GROUPS` either all columns are given or none. Raises `TaskNotFound` for a user without tasks.
    """
    sets = {f"sets_{part}": names[0] in columns for part, names in _COLUMN_GROUPS.items()}
    return _write(user, _CHANGE, id, version, moment, **{**_UNCHANGED, **columns, **sets})


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
        BUMP_REVISION(owner=user.id, by=1, ids=0, live=live),
        write(**columns, owner=user.id, task=id, version=version, moment=moment),
    )
    if not counted:
        raise TaskNotFound
    return rows[0] if rows else None


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Compare and set in one statement; None if there is no such task that meets the conditions."""
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()
