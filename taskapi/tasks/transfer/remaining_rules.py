"""The rule of a recurring task as calendars need it: counted from this task, not from the first of its series."""

from __future__ import annotations

from ...http.fields.time import LAST_DAY
from ..recurrence import rrule
from ..statements.rows import TaskRow


def remaining_rule(row: TaskRow) -> str:
    """Return the rule of a task, which must have one, counted from its own due date instead of that of its series.

    COUNT is the number of dates left with this one, at least 1. UNTIL is a date from the due date to `LAST_DAY`.
    """
    parts = dict(part.split("=", 1) for part in row.recurrence.split(";"))
    if "COUNT" in parts:
        # An imported task may be behind the last of its series: COUNT is never below 1.
        parts["COUNT"] = str(max(1, int(parts["COUNT"]) - (row.occurrence or 1) + 1))
    if "UNTIL" in parts:
        # This task is due even if its series ended before. No task is due after LAST_DAY, and the last day that Python
        # knows, 9999-12-31, has no equivalent in UTC for a zone west of it.
        last = rrule.last_day(parts["UNTIL"], row.due_time, row.time_zone)
        parts["UNTIL"] = f"{min(max(last, row.due_date), LAST_DAY):%Y%m%d}"
    return ";".join(f"{name}={value}" for name, value in parts.items())
