"""Manual order: a move writes the position of one row, or of all rows when no position between two is left."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime

from sqlalchemy import Text, cast, func, select, tuple_, update

from ...auth.tokens import User
from ...database.base import now
from ...database.transactions import execute, writes
from .. import positions
from ..models import Task
from ..queries import find
from ..statements.counters import bump_revision
from ..statements.rows import TaskRow
from ..statements.update import update_task


@writes
def move(user: User, id: int, expected: Set[int] | None, *, before: bool, other: int | None) -> TaskRow:
    """Move a live task before or after the task `other`, and return it; None means the end (`before`) or the start.

    A task that is there already keeps its version, also if `other` is the task itself. If no position is left there,
    all tasks get new positions and the new revision. Joins the caller's transaction, if any. Raises `TaskNotFound` for
    either task, and `VersionConflict` if the moved one has no version of `expected` (None: any).
    """
    counters, written_at = bump_revision(user), now()
    task = find(user, id, expected)
    neighbor = None if other is None else find(user, other)
    end = positions.initial_position(counters.last_task_id + 1)
    low, high = _surrounding_positions(user, id, neighbor, end, before=before)
    if other == id or (low or "") < task.position < high:
        bump_revision(user, -1)
        return task
    position = positions.between(low, high)
    if position is None:
        _renumber(user, counters.revision, written_at)
        neighbor = None if other is None else find(user, other)
        position = positions.between(*_surrounding_positions(user, id, neighbor, end, before=before))
    return update_task(user, id, counters.revision, {"position": position, "updated_at": written_at}) or task


def _surrounding_positions(
    user: User, id: int, neighbor: TaskRow | None, end: str, *, before: bool
) -> tuple[str | None, str]:
    """Return (lower, upper), the positions between which task `id` is to be put. Tasks in the trash count.

    They are those of `neighbor` and of the task before (`before`) or after it; without `neighbor`, the place is the end
    (`before`) or the start. Start gives None, end gives `end`. Both are equal if two tasks share a position.
    """
    keys = (Task.position, Task.id)
    statement = select(Task.position).where(Task.user_id == user.id, Task.id != id, Task.purged_at.is_(None))
    if neighbor is not None:
        row_key = tuple_(*keys)
        neighbor_key = tuple_(neighbor.position, neighbor.id, types=[key.type for key in keys])
        statement = statement.where(row_key < neighbor_key if before else row_key > neighbor_key)
    nearest = execute(statement.order_by(*(key.desc() if before else key for key in keys)).limit(1)).scalar()
    position = None if neighbor is None else neighbor.position
    low, high = (nearest, position) if before else (position, nearest)
    return low, end if high is None else high


def _renumber(user: User, revision: int, written_at: datetime) -> None:
    """Give all tasks, also in the trash, the positions of new tasks (`initial_position` of 1, 2, 3…), in their order.

    Sets `revision`, which the caller has incremented, and `updated_at` of each.
    """
    stored = (Task.user_id == user.id, Task.purged_at.is_(None))
    number = func.row_number().over(order_by=(Task.position, Task.id)).label("number")
    numbered = select(Task.id.label("id"), number).where(*stored).subquery("numbered")
    digits = cast(numbered.c.number, Text)
    letter = func.substr(positions.ALPHABET, func.length(digits), 1)
    statement = update(Task).where(*stored, Task.id == numbered.c.id)
    execute(statement.values(position=letter.concat(digits), revision=revision, updated_at=written_at))
