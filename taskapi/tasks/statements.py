"""What every statement on tasks is made of. Each names the user first: in its WHERE, or in the row it writes.

A write counts the user's revision up first, which locks the user's row: writes of one user stand in line, those of
different users never meet. So whatever is read after that, in the same transaction, stays true until its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import ColumnElement, Row, case, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..db import db, execute, setting
from . import models, positions, schedule
from .models import Task
from .selection import fold

TaskRow = Row[Any]
"""The columns that `COLUMNS` names: what a task shows of itself."""

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


class Absent(Exception):
    """The user has no such task."""


class Changed(Exception):
    """The task is not of a version that the caller expects; `current` is what it is."""

    def __init__(self, current: TaskRow) -> None:
        super().__init__()
        self.current = current


class QuotaExceeded(Exception):
    """The user would have more live tasks than is allowed."""

    def __init__(self, quota: int) -> None:
        super().__init__()
        self.quota = quota


REFUSALS = (Absent, Changed, QuotaExceeded, ValidationError)
"""What a statement module raises when it cannot do what was asked; nothing was changed then."""


def count_up(user: User, by: int = 1, *, ids: int = 0, live: int = 0) -> Row[Any]:
    """Count the user's revision, and with it ids given and live tasks; this locks the user's row.

    Raises `Absent` for a user who never wrote, and so has no task, and `QuotaExceeded`.
    """
    columns = {"revision": models.User.revision + by}
    if ids:
        columns["last_task_id"] = models.User.last_task_id + ids
    if live:
        columns["live_tasks"] = models.User.live_tasks + live
    statement = update(models.User).where(models.User.user_id == user.id).values(columns)
    counters = execute(statement.returning(models.User.revision, models.User.last_task_id, models.User.live_tasks))
    row = counters.one_or_none()
    if row is None:
        raise Absent
    if live > 0:
        check_quota(row)
    return row


def claim(user: User, tasks: int = 1, *, last_task_id: int = 0) -> Row[Any]:
    """Count up for new tasks, making the user's row if it is not there.

    `last_task_id` is what the ids have come to at least, before those of these tasks. Raises `QuotaExceeded`.
    """
    dialect = {"sqlite": sqlite, "postgresql": postgresql}[db.engine.dialect.name]
    known = models.User.last_task_id
    first = {"revision": 1, "last_task_id": last_task_id + tasks, "live_tasks": tasks}
    insertion = dialect.insert(models.User).values(user_id=user.id, **first)
    statement = insertion.on_conflict_do_update(
        index_elements=[models.User.user_id],
        set_={
            "revision": models.User.revision + 1,
            "last_task_id": case((known < last_task_id, last_task_id), else_=known) + tasks,
            "live_tasks": models.User.live_tasks + tasks,
        },
    )
    row = execute(statement.returning(models.User.revision, models.User.last_task_id, models.User.live_tasks)).one()
    if tasks:
        check_quota(row)
    return row


def check_quota(counters: Row[Any]) -> None:
    """Refuse, and so roll back, what would exceed the quota."""
    quota: int = setting("MAX_TASKS_PER_USER")
    if counters.live_tasks > quota:
        raise QuotaExceeded(quota)


def insert_task(user: User, id: int, revision: int, moment: datetime, values: Mapping[str, Any]) -> TaskRow:
    """One new row; `values` are the members that were sent."""
    row = new_row(user, id, revision, moment, values)
    schedule.foresee(row)
    return execute(insert(Task).values(row).returning(*COLUMNS)).one()


def new_row(user: User, id: int, revision: int, moment: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a new task."""
    members = {**DEFAULTS, **values}
    return {
        "completed_at": moment if members["completed"] else None,
        "position": positions.of_new(id),
        "created_at": moment,
        "updated_at": moment,
        **members,
        **schedule.settle(members),
        **folded(members),
        "user_id": user.id,
        "id": id,
        "revision": revision,
        "created_revision": revision,
    }


def update_task(
    user: User, id: int, revision: int, columns: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> TaskRow | None:
    """Compare and set in one statement; None if there is no such task that meets the conditions."""
    statement = update(Task).where(Task.user_id == user.id, Task.id == id, *conditions)
    return execute(statement.values(**columns, revision=revision).returning(*COLUMNS)).one_or_none()


def live(user: User, id: int) -> tuple[ColumnElement[bool], ...]:
    """The task of this id, if it is not in the trash."""
    return Task.user_id == user.id, Task.id == id, Task.deleted_at.is_(None)


def folded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The search columns that go with the members about to be written."""
    columns: dict[str, Any] = {}
    for name in ("title", "description"):
        if name in values:
            columns[f"folded_{name}"] = None if values[name] is None else fold(values[name])
    if "tags" in values:
        columns["folded_tags"] = tuple(tag.casefold() for tag in values["tags"])
    return columns
