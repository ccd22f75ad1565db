"""Columns of a task row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    bindparam,
)

from ...auth.tokens import User
from .. import positions
from ..folding import search_columns
from ..members import DEFAULTS
from ..models import Task
from ..recurrence import schedule

TaskRow = Any
"""A named tuple of the columns that `COLUMNS` names: what a task shows of itself."""


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


MEMBER_BINDS = {
    name: bindparam(name, type_=Task.__table__.c[name].type)
    for name in (
        *DEFAULTS,
        *("title", "completed_at", "created_at", "updated_at", "due_at", "due_order"),
        *("folded_title", "folded_description", "folded_tags"),
    )
}


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
