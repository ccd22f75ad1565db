"""SQL conditions for tasks that are overdue or due today."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, or_

from ..http.fields.time import start_of_day
from .models import Task


def overdue(zone: str, now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of open tasks that were due before `now`, an aware datetime.

    A task with a time zone of its own is compared by its instant `due_at`. Other tasks are compared by the local date
    and time in `zone`, an IANA name; without a due time they are overdue from the next day on. Tasks in the trash meet
    the condition, too.
    """
    local = now.astimezone(ZoneInfo(zone))
    today, clock = local.date(), f"{local:%H:%M}"
    past = or_(
        Task.due_at < now,
        and_(Task.due_at.is_(None), Task.due_date < today),
        and_(Task.due_at.is_(None), Task.due_date == today, Task.due_time < clock),
    )
    return and_(Task.completed.is_(False), past)


def due_today(zone: str, now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of open tasks that are due on the calendar day of `now` in `zone`, an IANA name.

    A task with a time zone of its own is compared by its instant `due_at`, others by their local date. Tasks in the
    trash meet the condition, too.
    """
    today = now.astimezone(ZoneInfo(zone)).date()
    midnight, next_midnight = start_of_day(today, zone), start_of_day(today + timedelta(days=1), zone)
    due = or_(
        and_(Task.due_at >= midnight, Task.due_at < next_midnight),
        and_(Task.due_at.is_(None), Task.due_date == today),
    )
    return and_(Task.completed.is_(False), due)
