"""A repeating task makes the next one when it is completed, in the same transaction, and can take it back."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, exists
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..database.base import db
from ..database.unit_of_work import execute
from ..idempotency import queries as idempotency
from .models import Task
from .recurrence import occurrences, schedule
from .statements.counters import bump_revision
from .statements.quota import check_stored_tasks_after
from .statements.rows import TOMBSTONE, TaskRow, new_row
from .statements.update import update_task

_COPIED_COLUMNS = ("title", "description", "priority", "tags", "due_time", "time_zone", "recurrence", "repeat_from")


def sync_series(user: User, task: TaskRow, moment: datetime) -> TaskRow:
    """Bring the next task in line with the completion of this one, which was just written; the task as it is then."""
    # One that was completed before has an earlier time of completion: editing it makes nothing.
    completed_now = task.completed_at == moment
    if completed_now and task.recurrence is not None and task.next_task_id is None:
        return _create_next_task(user, task, moment)
    if not task.completed and task.next_task_id is not None:
        return _remove_next_task(user, task, moment)
    return task


def _create_next_task(user: User, task: TaskRow, moment: datetime) -> TaskRow:
    due = next_due(task, moment)
    if due is None:
        return task
    series, occurrence = task.series_id or task.id, (task.occurrence or 1) + 1
    new_id = bump_revision(user, 0, ids=1, live=1).last_task_id
    values = {name: getattr(task, name) for name in _COPIED_COLUMNS}
    row = new_row(user, new_id, task.revision, moment, {**values, "due_date": due})
    dialect = {"sqlite": sqlite, "postgresql": postgresql}[db.engine.dialect.name]
    # The unique index on (user_id, series_id, occurrence) has the last word: a place in the series is taken once.
    made = execute(
        dialect.insert(Task)
        .values({**row, "series_id": series, "occurrence": occurrence})
        .on_conflict_do_nothing()
        .returning(Task.id)
    ).one_or_none()
    if made is None:
        bump_revision(user, 0, live=-1)
        return task
    check_stored_tasks_after(user, new_id)
    columns = {"next_task_id": new_id, **_own_position(user, task, series, occurrence - 1)}
    return update_task(user, task.id, task.revision, columns) or task


def _own_position(user: User, task: TaskRow, series: int, occurrence: int) -> dict[str, Any]:
    """The position that the first task of a series gets together with the second one, unless it is taken.

    An import may have put another task there. The unique index would refuse the whole completion then, again and again.
    """
    if task.series_id is not None and task.occurrence is not None:
        return {}
    there = (Task.user_id == user.id, Task.series_id == series, Task.occurrence == occurrence)
    is_free = ~exists().where(*there).correlate(None)  # any task, and not the one that is updated
    return {
        "series_id": case((is_free, series), else_=Task.series_id),
        "occurrence": case((is_free, occurrence), else_=Task.occurrence),
    }


def _remove_next_task(user: User, task: TaskRow, moment: datetime) -> TaskRow:
    gone = {**TOMBSTONE, "deleted_at": moment, "purged_at": moment, "updated_at": moment}
    untouched = (Task.revision == Task.created_revision, Task.deleted_at.is_(None))
    # An import may have pointed to any task: only one that stands behind this one in its series is taken back.
    behind = (Task.series_id == task.series_id, Task.occurrence == (task.occurrence or 0) + 1)
    if update_task(user, task.next_task_id, task.revision, gone, *behind, *untouched) is None:
        return task  # somebody has worked on it: it stays
    idempotency.forget_content(user, task.next_task_id)
    bump_revision(user, 0, live=-1)
    return update_task(user, task.id, task.revision, {"next_task_id": None}) or task


def next_due(task: TaskRow, moment: datetime) -> date | None:
    """When the next task is due: after this one and not before today, or after the completion; None at the end."""
    today = schedule.today(task.time_zone, moment)
    occurrence = task.occurrence or 1
    if task.repeat_from == "completion":
        return occurrences.next_date(task.recurrence, today, today, occurrence=occurrence)
    return occurrences.next_date(task.recurrence, task.due_date, today - timedelta(days=1), occurrence=occurrence)
