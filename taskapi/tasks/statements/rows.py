"""The columns of a task row: those that are read, those of a new task, and those of a tombstone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, bindparam

from ...auth.tokens import User
from .. import positions
from ..folding import search_columns
from ..members import DEFAULTS
from ..models import Task
from ..recurrence import schedule

TaskRow = Any
"""A named tuple of `COLUMNS`: everything that the JSON of a task needs."""

OWNER: BindParameter[str] = bindparam("owner")
"""Bind parameter of the user's id in prepared statements."""

TASK: BindParameter[int] = bindparam("task")
"""Bind parameter of the task's id in prepared statements."""

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
"""The columns that every statement on tasks returns."""

MEMBER_BINDS = {
    name: bindparam(name, type_=Task.__table__.c[name].type)
    for name in (
        *DEFAULTS,
        *("title", "completed_at", "created_at", "updated_at", "due_at", "due_order"),
        *("folded_title", "folded_description", "folded_tags"),
    )
}
"""Bind parameters of the columns of `task_columns`, for prepared statements."""

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
"""Columns of a task whose content is removed. Its row stays, so that the delta feed can report the deletion."""


def new_row(user: User, id: int, revision: int, written_at: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a new task with this id; those about the trash and a series are left out (NULL).

    `values` are as in `task_columns`, and may have a `position`, which is otherwise derived from the id. Raises
    ValidationError as `task_columns` does.
    """
    return {
        "position": positions.initial_position(id),
        **task_columns(written_at, values),
        "user_id": user.id,
        "id": id,
        "revision": revision,
        "created_revision": revision,
    }


def task_columns(written_at: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a new task that do not depend on its id: members with defaults, times, derived columns.

    `values` are members, and may have times such as `created_at`, which are otherwise `written_at`. Raises
    ValidationError for contradictory members about time.
    """
    members = {**DEFAULTS, **values}
    return {
        "completed_at": written_at if members["completed"] else None,
        "created_at": written_at,
        "updated_at": written_at,
        **members,
        **schedule.derive_due_columns(members),
        **search_columns(members),
    }
