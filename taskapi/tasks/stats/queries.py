"""The numbers of a user's tasks by kind, counted in one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select

from ...auth.tokens import User
from ...database.base import now
from ...database.transactions import execute, reads
from ..members import PRIORITIES
from ..models import Task
from ..overdue import due_today, overdue


@reads
def stats(user: User, zone: str) -> dict[str, Any]:
    """Count the user's live tasks by kind, and those in the trash: the members of `StatsOut`.

    `overdue` and `due_today` are by local time in `zone`, an IANA name. Reads all tasks of the user.
    """
    at, live = now(), Task.deleted_at.is_(None)
    conditions = {
        "total": live,
        "pending": and_(live, Task.completed.is_(False)),
        "completed": and_(live, Task.completed.is_(True)),
        "overdue": and_(live, overdue(zone, at)),
        "due_today": and_(live, due_today(zone, at)),
        "trash": Task.deleted_at.is_not(None),
        **{name: and_(live, Task.priority == number) for name, number in PRIORITIES.items()},
    }
    columns = (_count(condition).label(name) for name, condition in conditions.items())
    counts = execute(select(*columns).where(Task.user_id == user.id, Task.purged_at.is_(None))).one()._asdict()
    by_priority = {name: counts.pop(name) for name in PRIORITIES}
    return {**counts, "by_priority": by_priority}


def _count(condition: ColumnElement[bool]) -> Any:
    """Return the SQL aggregate that counts the rows that meet a condition."""
    return func.count(case((condition, 1)))
