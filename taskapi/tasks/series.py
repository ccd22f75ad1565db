"""Series of recurring tasks: completing a task creates the next one, in the same transaction; reopening removes it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, exists
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..database.base import db
from ..database.transactions import execute
from ..idempotency import queries as idempotency
from .models import Task
from .recurrence import occurrences, schedule
from .recurrence.rrule import with_last_day
from .statements.counters import bump_revision
from .statements.quota import check_stored_tasks_after
from .statements.rows import TOMBSTONE, TaskRow, new_row
from .statements.update import update_task

_COPIED_COLUMNS = ("title", "description", "priority", "tags", "due_time", "time_zone", "recurrence", "repeat_from")


def sync_series(user: User, task: TaskRow, written_at: datetime, zone: str | None) -> TaskRow:
    """Create the next task of a recurring one completed at `written_at`, or remove the next task of an open one.

    `zone` is the user's time zone, for a task without its own (`next_due`). Returns the row of `task` after that;
    unchanged if it has a next task already, was completed before, or its next task was changed. Part of the caller's
    transaction. Raises `QuotaExceeded`, and ValidationError in a batch whose `search_budget` is exceeded.
    """
    # An edit of a task that was completed before keeps its earlier `completed_at`, so it creates nothing.
    completed_now = task.completed_at == written_at
    if completed_now and task.recurrence is not None and task.next_task_id is None:
        return _create_next_task(user, task, written_at, zone)
    if not task.completed and task.next_task_id is not None:
        return _remove_next_task(user, task, written_at)
    return task


def _create_next_task(user: User, task: TaskRow, written_at: datetime, zone: str | None) -> TaskRow:
    """Insert the next occurrence as a copy of `task` with the next due date, and set `next_task_id` of `task` to it.

    Inserts nothing if the series has ended, or has this occurrence already. A task without a position in a series gets
    one, if that is free. Returns the row of `task` after that. Raises as `sync_series` does.
    """
    due = next_due(task, written_at, zone)
    if due is None:
        return task
    series, occurrence = task.series_id or task.id, (task.occurrence or 1) + 1
    new_id = bump_revision(user, 0, ids=1, live=1).last_task_id
    values = {name: getattr(task, name) for name in _COPIED_COLUMNS}
    row = new_row(user, new_id, task.revision, written_at, {**values, "due_date": due})
    dialect = {"sqlite": sqlite, "postgresql": postgresql}[db.engine.dialect.name]
    # The unique index on (user_id, series_id, occurrence) decides: an occurrence is inserted only once.
    inserted = execute(
        dialect.insert(Task)
        .values({**row, "series_id": series, "occurrence": occurrence})
        .on_conflict_do_nothing()
        .returning(Task.id)
    ).one_or_none()
    if inserted is None:
        bump_revision(user, 0, live=-1)
        return task
    check_stored_tasks_after(user, new_id)
    columns = {"next_task_id": new_id, **_own_position(user, task, series, occurrence - 1)}
    return update_task(user, task.id, task.revision, columns) or task


def _own_position(user: User, task: TaskRow, series: int, occurrence: int) -> dict[str, Any]:
    """Return SQL values of `series_id` and `occurrence` for an UPDATE of `task`, which sets them to the arguments.

    {} if `task` has both. If another task, such as an imported one, has that position when the UPDATE runs, both
    columns stay as they are: the unique index would reject a second row with it.
    """
    if task.series_id is not None and task.occurrence is not None:
        return {}
    at_position = (Task.user_id == user.id, Task.series_id == series, Task.occurrence == occurrence)
    is_free = ~exists().where(*at_position).correlate(None)  # not correlated with the row that is updated: any task
    return {
        "series_id": case((is_free, series), else_=Task.series_id),
        "occurrence": case((is_free, occurrence), else_=Task.occurrence),
    }


def _remove_next_task(user: User, task: TaskRow, written_at: datetime) -> TaskRow:
    """Turn the next task into a tombstone if it is live, was never changed and follows `task` in its series.

    Then removes its content from stored responses, too, and sets `next_task_id` of `task` to NULL; otherwise nothing
    changes. Returns the row of `task` after that.
    """
    tombstone = {**TOMBSTONE, "deleted_at": written_at, "purged_at": written_at, "updated_at": written_at}
    is_unchanged = (Task.revision == Task.created_revision, Task.deleted_at.is_(None))
    # An import can set `next_task_id` to any task, so only the following task of the same series is removed.
    is_following = (Task.series_id == task.series_id, Task.occurrence == (task.occurrence or 0) + 1)
    if update_task(user, task.next_task_id, task.revision, tombstone, *is_following, *is_unchanged) is None:
        return task
    idempotency.delete_task_content(user, task.next_task_id)
    bump_revision(user, 0, live=-1)
    return update_task(user, task.id, task.revision, {"next_task_id": None}) or task


def next_due(task: TaskRow, now: datetime, zone: str | None) -> date | None:
    """Return the due date of the next task; None if the rule gives none.

    "due": the first date after the task's due date, not before today. "completion": the first after today, counted from
    today, or from the due date if that gives none and the rule has no COUNT or UNTIL. Today is the date of `now` in the
    task's zone, otherwise in `zone`, otherwise in UTC. Raises ValidationError if the `search_budget` of a batch is
    exceeded.
    """
    zone = task.time_zone or zone
    today = schedule.today(zone, now)
    is_from_completion = task.repeat_from == "completion"
    start, after = (today, today) if is_from_completion else (task.due_date, today - timedelta(days=1))
    # No one has chosen the day of the completion: a month without it must not be skipped.
    rule = with_last_day(task.recurrence, today) if is_from_completion else task.recurrence
    options = {"occurrence": task.occurrence or 1, "clock": task.due_time, "zone": zone}
    due = occurrences.next_date(rule, start, after, **options)
    if due is None and is_from_completion and "COUNT" not in rule and "UNTIL" not in rule:
        # Counted from this day the rule never comes again: FREQ=DAILY;INTERVAL=7;BYDAY=MO, completed on a Tuesday.
        due = occurrences.next_date(task.recurrence, task.due_date, today, **options)
    return due
