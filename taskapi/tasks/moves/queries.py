"""Manual order: a task is put next to another by writing one row, or all of them once there is no room between two."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime

from sqlalchemy import Text, cast, func, select, tuple_, update

from ...auth.tokens import User
from ...database.base import now
from ...database.unit_of_work import execute, writes
from .. import positions
from ..models import Task
from ..queries import find
from ..statements.counters import bump_revision
from ..statements.rows import TaskRow
from ..statements.update import update_task


@writes
def move(user: User, id: int, expected: Set[int] | None, *, before: bool, other: int | None) -> TaskRow:
    """Put a task before or after another one; with None, before the end or after the start.

    Raises `TaskNotFound` for either task, and `VersionConflict`. One that stands there already keeps its version.
    """
    counters, moment = bump_revision(user), now()
    task = find(user, id, expected)
    beside = None if other is None else find(user, other)
    end = positions.initial_position(counters.last_task_id + 1)
    low, high = _neighbors(user, id, beside, end, before=before)
    if other == id or (low or "") < task.position < high:
        bump_revision(user, -1)
        return task
    place = positions.between(low, high)
    if place is None:
        _renumber(user, counters.revision, moment)
        beside = None if other is None else find(user, other)
        place = positions.between(*_neighbors(user, id, beside, end, before=before))
    return update_task(user, id, counters.revision, {"position": place, "updated_at": moment}) or task


def _neighbors(user: User, id: int, beside: TaskRow | None, end: str, *, before: bool) -> tuple[str | None, str]:
    """The places that the moved task comes between: of the one beside it, and of the next on that side.

    They are the same when tasks share a place: then there is no room between them, and they are numbered anew.
    """
    keys = (Task.position, Task.id)
    statement = select(Task.position).where(Task.user_id == user.id, Task.id != id, Task.purged_at.is_(None))
    if beside is not None:
        here, there = tuple_(*keys), tuple_(beside.position, beside.id, types=[key.type for key in keys])
        statement = statement.where(here < there if before else here > there)
    nearest = execute(statement.order_by(*(key.desc() if before else key for key in keys)).limit(1)).scalar()
    at = None if beside is None else beside.position
    low, high = (nearest, at) if before else (at, nearest)
    return low, end if high is None else high


def _renumber(user: User, revision: int, moment: datetime) -> None:
    """Give all of a user's tasks the places of new ones, in the order they have."""
    mine = (Task.user_id == user.id, Task.purged_at.is_(None))
    number = func.row_number().over(order_by=(Task.position, Task.id)).label("number")
    numbered = select(Task.id.label("id"), number).where(*mine).subquery("numbered")
    digits = cast(numbered.c.number, Text)
    letter = func.substr(positions.ALPHABET, func.length(digits), 1)
    statement = update(Task).where(*mine, Task.id == numbered.c.id)
    execute(statement.values(position=letter.concat(digits), revision=revision, updated_at=moment))
