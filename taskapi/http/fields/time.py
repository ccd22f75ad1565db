"""Strict fields for dates, times of day, time zones and timestamps."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import orjson

from .strict import StrictField, refuse

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
"""Bounds of a due date: in this range every time exists in every time zone and in every database."""


@lru_cache(maxsize=8192)
def rfc3339(time: datetime) -> str:
    """Format an aware datetime in UTC with milliseconds, truncated, as JavaScript's `toISOString` does (RFC 3339).

    Cached: a list that is read again after a change has the times of its other tasks again.
    """
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    # orjson takes a third of the time of `isoformat`. Its output is quoted, with six fractional digits or none.
    if time.microsecond:
        return orjson.dumps(time)[1:24].decode() + "Z"
    return orjson.dumps(time)[1:20].decode() + ".000Z"


def start_of_day(day: date, zone: str) -> datetime:
    """Return the instant at which a calendar day begins in `zone`, an IANA name, in UTC."""
    return datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)


class Timestamp(StrictField):
    """RFC 3339 timestamp, output only."""

    to_json = staticmethod(rfc3339)

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00.000Z"]}
        super().__init__(shape, **options)


class Day(StrictField):
    """A calendar date, `YYYY-MM-DD`, without a time zone."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "format": "date", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        """Parse `YYYY-MM-DD`; reject a date that does not exist or is not from `FIRST_DAY` to `LAST_DAY`."""
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            raise refuse("type", "Must be a date such as 2026-02-28, without a time.")
        try:
            day = date.fromisoformat(value)
        except ValueError as error:
            raise refuse("range", "Must be a day that the calendar has.") from error
        if not FIRST_DAY <= day <= LAST_DAY:
            raise refuse("range", f"Must lie from {FIRST_DAY} to {LAST_DAY}.")
        return day


class WallTime(StrictField):
    """A local time of day, `HH:MM`, stored as text, which sorts correctly."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["09:30"]}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        """Return `HH:MM` unchanged; reject anything else."""
        if not isinstance(value, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
            raise refuse("type", "Must be a time such as 09:30, from 00:00 to 23:59.")
        return value


class TimeZone(StrictField):
    """A time zone by its IANA name."""

    def __init__(self, **options: Any) -> None:
        shape = {
            "type": "string",
            "maxLength": 64,
            "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$",
            "examples": ["Europe/Berlin"],
        }
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        """Return the IANA name of a time zone unchanged; reject anything else."""
        if not isinstance(value, str) or not is_time_zone(value):
            raise refuse("time_zone", "Must be the IANA name of a time zone, such as Europe/Berlin or UTC.")
        return value


def is_time_zone(name: str) -> bool:
    """Return True for the IANA name of a time zone that a task may have."""
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    """Return the names of the IANA time zones that Python finds on this machine, read once."""
    # Without two files that are not zones: the zone of this machine, and the placeholder "not configured".
    return frozenset(available_timezones() - {"localtime", "Factory"})


_DAY_OR_TIME = (
    r"[0-9]{4}(-[0-9]{2}){2}(T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?"
)


class RequestTimestamp(Timestamp):
    """RFC 3339 timestamp in a request, in UTC; parsed to an aware datetime with milliseconds."""

    def __init__(self, **options: Any) -> None:
        shape = {"pattern": r"^[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}(\.[0-9]{1,6})?Z$"}
        super().__init__(metadata={**shape, **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        """Parse an RFC 3339 timestamp in UTC (`Z`) to an aware datetime, truncated to milliseconds.

        Rejects a time that does not exist, or whose date is not from `FIRST_DAY` to `LAST_DAY`.
        """
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}(\.[0-9]{1,6})?Z", value):
            raise refuse("type", "Must be a time such as 2026-11-21T09:30:00.000Z.")
        try:
            time = datetime.fromisoformat(value)
        except ValueError as error:
            raise refuse("range", "Must be a time that the clock has.") from error
        if not FIRST_DAY <= time.date() <= LAST_DAY:
            raise refuse("range", f"Must lie from {FIRST_DAY} to {LAST_DAY}.")
        return time.replace(microsecond=time.microsecond // 1000 * 1000)


class DayOrTime(StrictField):
    """A date, `YYYY-MM-DD`, or an RFC 3339 timestamp with an offset from UTC, in a query string."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "pattern": f"^{_DAY_OR_TIME}$", "examples": ["2026-11-21"]}, **options)

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> date:
        """Return a date for a date, and a datetime in UTC, truncated to milliseconds, for a timestamp.

        Rejects a day or a time that does not exist, or whose date in UTC is not from `FIRST_DAY` to `LAST_DAY`.
        """
        if not isinstance(value, str) or not re.fullmatch(_DAY_OR_TIME, value):
            raise refuse("type", "Must be a date such as 2026-02-28, or a time such as 2026-02-28T09:30:00Z.")
        if len(value) == len("2026-02-28"):
            day: date = Day().deserialize(value, *rest, **options)
            return day
        try:
            time = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise refuse("range", "Must be a time that the clock has.") from error
        if not FIRST_DAY <= time.date() <= LAST_DAY:
            raise refuse("range", f"Must lie from {FIRST_DAY} to {LAST_DAY}.")
        return time.replace(microsecond=time.microsecond // 1000 * 1000)
