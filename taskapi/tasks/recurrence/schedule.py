"""When a task is due: a date is a date, never an instant; only with a time and a zone does it become one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import ValidationError

from ...http.fields.strict import Violation
from . import occurrences

SCHEDULE_MEMBERS = ("due_date", "due_time", "time_zone", "recurrence", "repeat_from")
"""What a client can say about time. They hang together, so a change to one is checked with all of them."""

_NEEDS = (("due_time", "due_date"), ("time_zone", "due_time"), ("recurrence", "due_date"))


def changes_schedule(values: Mapping[str, Any]) -> bool:
    """Whether a change says anything about time."""
    return not values.keys().isdisjoint(SCHEDULE_MEMBERS)


def derive_due_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns derived from `SCHEDULE_MEMBERS`. Raises ValidationError for a contradiction."""
    wrong = {
        member: [Violation("needs", f"Needs `{needed}`: set both, or clear this one too.")]
        for member, needed in _NEEDS
        if values[member] is not None and values[needed] is None
    }
    if wrong:
        raise ValidationError(wrong)
    return {
        "due_at": due_instant(values["due_date"], values["due_time"], values["time_zone"]),
        "due_order": due_sort_key(values["due_date"], values["due_time"]),
    }


def check_next_occurrence(values: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Refuse a rule that never comes again, once `derive_due_columns` has passed it; what was there `before` may stay.

    The last task of a series has such a rule too: it is made, edited and completed like any other.
    """
    rule, due = values["recurrence"], values["due_date"]
    if rule is not None and (before is None or (rule, due) != (before["recurrence"], before["due_date"])):
        occurrences.check_recurs(rule, due)


def due_instant(day: date | None, clock: str | None, zone: str | None) -> datetime | None:
    """The moment, in UTC, that a clock in that zone shows; None unless all three are known.

    A time that the clock skips in spring is taken as if it had not yet been put forward, one that it shows twice
    in autumn as the first (RFC 5545, section 3.3.5; PEP 495, fold 0).
    """
    if day is None or clock is None or zone is None:
        return None
    return datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone)).astimezone(UTC)


def due_sort_key(day: date | None, clock: str | None) -> str:
    """Text that sorts as due dates do: by day, within it by time, without a time last; empty for no date."""
    return "" if day is None else f"{day.isoformat()}T{clock or '~'}"


def today(zone: str | None, now: datetime) -> date:
    """The day it is in a zone; in UTC if there is none."""
    return now.astimezone(ZoneInfo(zone) if zone else UTC).date()
