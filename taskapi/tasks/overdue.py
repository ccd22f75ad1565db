"""Which tasks are overdue or due today, as a condition of a statement."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, or_

from .models import Task


def overdue(zone: str, moment: datetime) -> ColumnElement[bool]:
    """Open, and due before the moment: by its own zone if it has one, otherwise by the clock in `zone`."""
    there = moment.astimezone(ZoneInfo(zone))
    today, clock = there.date(), f"{there:%H:%M}"
    past = or_(
        Task.due_at < moment,
        and_(Task.due_at.is_(None), Task.due_date < today),
        and_(Task.due_at.is_(None), Task.due_date == today, Task.due_time < clock),
    )
    return and_(Task.completed.is_(False), past)


def due_today(zone: str, moment: datetime) -> ColumnElement[bool]:
    """Open, and due on the day it is in `zone`."""
    there = moment.astimezone(ZoneInfo(zone))
    midnight = datetime.combine(there.date(), datetime.min.time(), ZoneInfo(zone))
    tomorrow = datetime.combine(there.date() + timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
    on_the_day = or_(
        and_(Task.due_at >= midnight, Task.due_at < tomorrow),
        and_(Task.due_at.is_(None), Task.due_date == there.date()),
    )
    return and_(Task.completed.is_(False), on_the_day)
