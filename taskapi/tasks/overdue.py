"""SQL conditions for tasks that are overdue or due today."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_

from ..http.fields.time import start_of_day
from .models import Task
from .recurrence import schedule
from .recurrence.schedule import PastTimes


def overdue(zone: str, now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of open tasks that were due before `now`, an aware datetime.

    A task with a due time and a time zone is compared by its instant `due_at`. Others are compared by the local date
    and time in `zone`, an IANA name; without a due time they are overdue from the next day on. Tasks in the trash meet
    the condition, too.
    """
    today, times = schedule.today(zone, now), PastTimes.at(now, zone)
    has_passed = or_(
        and_(Task.due_time < times.change, Task.due_time < times.earlier),
        and_(Task.due_time >= times.change, Task.due_time < times.later),
    )
    past = or_(
        Task.due_at < now,
        and_(Task.due_at.is_(None), Task.due_date < today),
        and_(Task.due_at.is_(None), Task.due_date == today, has_passed),
    )
    return and_(Task.completed.is_(False), past)


def due_today(zone: str, now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of open tasks that are due on the calendar day of `now` in `zone`, an IANA name.

    A task with a due time and a time zone is compared by its instant `due_at`, others by their local date. Tasks in the
    trash meet the condition, too.
    """
    today = schedule.today(zone, now)
    midnight, next_midnight = start_of_day(today, zone), start_of_day(today + timedelta(days=1), zone)
    due = or_(
        and_(Task.due_at >= midnight, Task.due_at < next_midnight),
        and_(Task.due_at.is_(None), Task.due_date == today),
    )
    return and_(Task.completed.is_(False), due)
