"""UPDATE of a task, atomic (compare and set), sent in one round trip with the increment of the user's revision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, bindparam, case, func, or_, select, update

from ...auth.tokens import User
from ...database.base import UTCDateTime
from ...database.prepared import BoundStatement, Prepared
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
"""The columns that a change can set. All columns of a group are set together, or none of them."""

_SETS = {
    name: bindparam(f"sets_{group}", type_=Boolean)  # the columns of a group share one bind parameter
    for group, names in _COLUMN_GROUPS.items()
    for name in names
}
"""By column: whether a change sets it."""

_UNCHANGED = dict.fromkeys(_SETS) | {"tags": (), "folded_tags": ()}
"""Values bound for the columns that a change does not set; the CASE of `_CHANGE` ignores them."""

_VERSION, _MOMENT = bindparam("version", type_=BigInteger), bindparam("moment", type_=UTCDateTime)
_MATCHES_VERSION = (
    *(Task.user_id == OWNER, Task.id == TASK, Task.deleted_at.is_(None)),
    or_(_VERSION.is_(None), Task.revision == _VERSION),
)
_STAMPS = {
    "updated_at": _MOMENT,
    "revision": select(models.User.revision).where(models.User.user_id == OWNER).scalar_subquery(),
}

# One statement for every set of members. A statement for each set would be prepared on every connection.
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
    """Increment the revision and set columns of a live task, if it has this version (None: any) and a value differs.

    `columns` has either all columns of a group of `_COLUMN_GROUPS` or none. Returns the row after that, or None if no
    row matched. Raises `TaskNotFound` for a user who never wrote.
    """
    sets = {f"sets_{group}": names[0] in columns for group, names in _COLUMN_GROUPS.items()}
    return _write(user, _CHANGE, id, version, moment, **{**_UNCHANGED, **columns, **sets})


def toggle_completed(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Increment the revision and negate `completed` of a live task, if it has this version (None: any).

    Returns the row after that, or None if no row matched. Raises `TaskNotFound` for a user who never wrote.
    """
    return _write(user, _TOGGLE, id, version, moment)


def move_to_trash(user: User, id: int, version: int | None, moment: datetime) -> TaskRow | None:
    """Increment the revision and set `deleted_at` of a live task, if it has this version (None: any).

    Returns the row after that, or None if no row matched. Raises `TaskNotFound` for a user who never wrote.
    """
    return _write(user, _REMOVE, id, version, moment, live=-1)


def _write(
    user: User, statement: Prepared, id: int, version: int | None, moment: datetime, *, live: int = 0, **columns: Any
) -> TaskRow | None:
    """Send the increment of the counters and one UPDATE in one round trip; return the updated row, if any."""
    counters, rows = fetch(
        BUMP_REVISION(owner=user.id, by=1, ids=0, live=live),
        statement(**columns, owner=user.id, task=id, version=version, moment=moment),
    )
    if not counters:
        raise TaskNotFound
    return rows[0] if rows else None


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Set columns and the revision of a task that meets the conditions; return the row after that, or None."""
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()


def bind_change(user: User, id: int, moment: datetime, columns: Mapping[str, Any]) -> tuple[BoundStatement, ...]:
    """Bind the statements of `set_members`, for a caller that sends them together with others."""
    sets = {f"sets_{group}": names[0] in columns for group, names in _COLUMN_GROUPS.items()}
    binds = {**_UNCHANGED, **columns, **sets, "owner": user.id, "task": id, "version": None, "moment": moment}
    return BUMP_REVISION(owner=user.id, by=1, ids=0, live=0), _CHANGE(**binds)


def bind_removal(user: User, id: int, moment: datetime) -> tuple[BoundStatement, ...]:
    """Bind the statements of `move_to_trash`, for a caller that sends them together with others."""
    removal = _REMOVE(owner=user.id, task=id, version=None, moment=moment)
    return BUMP_REVISION(owner=user.id, by=1, ids=0, live=-1), removal
