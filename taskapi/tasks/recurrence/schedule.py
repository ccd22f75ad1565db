"""Due dates: the columns derived from date, time and time zone. A due date is an instant only with time and zone.

Without a time, the time zone only says whose days a recurring task is counted by (series.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import ValidationError

from ...http.fields.strict import Violation
from . import occurrences

SCHEDULE_MEMBERS = ("due_date", "due_time", "time_zone", "recurrence", "repeat_from")
"""The members about time. They depend on each other, so a change of one is validated with all of them."""

_NEEDS = (("due_time", "due_date"), ("time_zone", "due_date"), ("recurrence", "due_date"))
"""Pairs of a member and the member that it requires."""


def changes_schedule(values: Mapping[str, Any]) -> bool:
    """Return True if any of `SCHEDULE_MEMBERS` is among the members in `values`."""
    return not values.keys().isdisjoint(SCHEDULE_MEMBERS)


def derive_due_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `due_at` and `due_order`, derived from `values`, which must have all `SCHEDULE_MEMBERS`.

    Raises ValidationError if `due_time`, `time_zone` or `recurrence` is set (not None) without `due_date`.
    """
    violations = {
        member: [Violation("needs", f"Needs `{needed}`: set both, or clear this one too.")]
        for member, needed in _NEEDS
        if values[member] is not None and values[needed] is None
    }
    if violations:
        raise ValidationError(violations)
    return {
        "due_at": due_instant(values["due_date"], values["due_time"], values["time_zone"]),
        "due_order": due_sort_key(values["due_date"], values["due_time"]),
    }


def check_next_occurrence(values: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Raise ValidationError if a rule without COUNT and UNTIL has no date after the due date (`MAX_PERIODS`).

    Checks nothing without a rule, or if rule and due date are those of `before`, the stored values (None: a new task):
    the last task of a series must stay editable. Call it after `derive_due_columns`. Also raises ValidationError if the
    `search_budget` of a batch is exceeded.
    """
    rule, due = values["recurrence"], values["due_date"]
    if rule is not None and (before is None or (rule, due) != (before["recurrence"], before["due_date"])):
        occurrences.check_recurs(rule, due)


def due_instant(day: date | None, clock: str | None, zone: str | None) -> datetime | None:
    """Return the instant in UTC of a local date and time (`HH:MM`) in an IANA time zone; None if one is None.

    A time that is skipped in spring is taken with the offset before the transition; of one that occurs twice in autumn
    the first counts (RFC 5545, section 3.3.5; PEP 495, fold 0).
    """
    if day is None or clock is None or zone is None:
        return None
    return datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone)).astimezone(UTC)


def due_sort_key(day: date | None, clock: str | None) -> str:
    """Return text that sorts like due dates: by day, then by time, without a time last in a day; "" for no date."""
    return "" if day is None else f"{day.isoformat()}T{clock or '~'}"


def today(zone: str | None, now: datetime) -> date:
    """Return the date that the instant `now` has in an IANA time zone; in UTC if `zone` is None."""
    return now.astimezone(ZoneInfo(zone) if zone else UTC).date()


@dataclass(frozen=True)
class PastTimes:
    """The local times (`HH:MM`) of the present day that are in the past: their `due_instant` is before this minute.

    These are the times before `change` that are less than `earlier`, and those from `change` on that are less than
    `later`. `change` is the time at which the offset from UTC changes on that day; 24:00 if it does not.
    """

    change: str
    earlier: str
    later: str

    @classmethod
    def at(cls, now: datetime, zone: str) -> PastTimes:
        """Return the past times of the day that the instant `now` falls on in `zone`, an IANA name."""
        midnight = datetime.combine(today(zone, now), time(), ZoneInfo(zone))
        offsets = [day.utcoffset() or timedelta() for day in (midnight, midnight + timedelta(days=1))]
        change = _MINUTES_PER_DAY
        if offsets[0] != offsets[1]:
            change = bisect_left(range(change), 1, key=lambda minute: _offset(midnight, minute) == offsets[1])
        # How late it is by each of the two offsets: the clock shows only one of them.
        elapsed = now.astimezone(UTC) - midnight.replace(tzinfo=UTC)
        earlier, later = (_clock((elapsed + offset) // timedelta(minutes=1)) for offset in offsets)
        return cls(_clock(change), earlier, later)


_MINUTES_PER_DAY = 24 * 60


def _offset(midnight: datetime, minute: int) -> timedelta | None:
    """Return the offset from UTC, `minute` minutes after `midnight` on the clock; of a repeated time the first."""
    return (midnight + timedelta(minutes=minute)).utcoffset()


def _clock(minute: int) -> str:
    """Format a minute of the day as `HH:MM`; a negative one as 00:00, one after the end of the day as 24:00."""
    hours, minutes = divmod(min(max(minute, 0), _MINUTES_PER_DAY), 60)
    return f"{hours:02}:{minutes:02}"
