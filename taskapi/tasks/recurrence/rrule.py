"""Parse and normalize recurrence rules: the supported subset of RFC 5545's RRULE (section 3.3.10).

`dateutil`, the usual library, never returns for `INTERVAL=0`, and searches up to the year 9999 when no day matches a
rule, which takes seconds. So each part of a rule is validated against an allowlist here, and occurrences.py searches a
bounded number of periods. The tests compare the results with `dateutil`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ...http.fields.strict import refuse
from ...http.fields.time import FIRST_DAY, LAST_DAY

MAX_RULE = 200
"""Maximum length of a rule in characters."""

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
"""The weekdays of RFC 5545, in the order of `date.weekday`."""

MAX_POSITION = 366
"""Maximum of BYSETPOS in either direction: the days of a leap year."""

_UNTIL = re.compile("([0-9]{8})(T[0-9]{6}Z?)?")
_WEEKDAY = re.compile(f"([+-]?[0-9]{{1,2}})?({'|'.join(WEEKDAYS)})")
_SPACES = re.compile("[ \t]*([:;=,])[ \t]*")


def _word(*words: str) -> Callable[[str], str | None]:
    """Return a function that returns a text unchanged if it is one of these words, otherwise None."""
    return lambda text: text if text in words else None


def _number(most: int) -> Callable[[str], str | None]:
    """Return a function that returns a number from 1 to `most` without leading zeros; None for another text."""
    return lambda text: str(int(text)) if re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= most else None


def _list_of(item: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return a function that normalizes each item of a comma-separated list; None if `item` returns None for one."""

    def parse(text: str) -> str | None:
        """Return the list with each item normalized; None if any item is not allowed."""
        items = [item(each) for each in text.split(",")]
        return None if None in items else ",".join(each for each in items if each)

    return parse


def _signed(most: int) -> Callable[[str], str | None]:
    """Return a function that returns a number from 1 to `most`, or from -`most` to -1, without `+`; None for others."""
    number = _number(most)

    def parse(text: str) -> str | None:
        """Return the number without `+` and leading zeros; None if the text is not an allowed number."""
        sign, absolute = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
        normalized = number(absolute)
        return normalized and f"{sign.strip('+')}{normalized}"

    return parse


def _weekday(text: str) -> str | None:
    """Normalize a weekday, with or without an ordinal up to 53 (`+1MO` -> `1MO`); return None for another text."""
    found = _WEEKDAY.fullmatch(text)
    number = _signed(53)(found[1]) if found and found[1] else ""
    return None if found is None or number is None else f"{number}{found[2]}"


_PARTS: dict[str, tuple[Callable[[str], str | None], str]] = {
    "FREQ": (_word("DAILY", "WEEKLY", "MONTHLY", "YEARLY"), "one of DAILY, WEEKLY, MONTHLY, YEARLY"),
    "INTERVAL": (_number(999), "a number from 1 to 999"),
    "BYDAY": (_list_of(_weekday), "weekdays such as MO,TH or, by month or year, 1MO or -1FR"),
    "BYMONTHDAY": (_list_of(_signed(31)), "days of the month, 1 to 31 or -31 to -1"),
    "BYMONTH": (_list_of(_number(12)), "months, 1 to 12"),
    "BYSETPOS": (_list_of(_signed(MAX_POSITION)), "numbers from 1 to 366 or -366 to -1; -1 is the last"),
    "WKST": (_word(*WEEKDAYS), "one of MO, TU, WE, TH, FR, SA, SU"),
    "UNTIL": (lambda text: text if _UNTIL.fullmatch(text) else None, "20261231, 20261231T235959 or 20261231T235959Z"),
    "COUNT": (_number(999), "a number from 1 to 999"),
}
"""The supported parts in their normalized order: a function that normalizes the value, None if it is not allowed, and
the description of the value in errors."""
_UNSUPPORTED = ("BYSECOND", "BYMINUTE", "BYHOUR", "BYYEARDAY", "BYWEEKNO")
"""The other parts of RFC 5545. The error names them; any other name is client input, which errors do not echo."""


def normalize(rule: str) -> str:
    """Return a rule, as calendars write it, in the form that is stored (normal form). Raises ValidationError.

    That form is in upper case, without `RRULE:`, spaces and a final semicolon, with its parts in the order of `_PARTS`,
    numbers without `+` and leading zeros. Values without effect, such as `INTERVAL=1`, stay: a calendar gets its rule
    back. The error names the part that is not allowed, or not supported.
    """
    parts = _split_parts(rule)
    _check_combinations(parts)
    return ";".join(f"{name}={parts[name]}" for name in _PARTS if name in parts)


def _split_parts(rule: str) -> dict[str, str]:
    """Return the normalized values of a rule's parts by name.

    Raises ValidationError for a part that is unknown, not supported or repeated, and for a value that is not allowed.
    """
    parts: dict[str, str] = {}
    # Only ASCII: `upper` would turn other letters into allowed ones, such as the dotless i into "I".
    text = _SPACES.sub(r"\1", rule.strip(" \t")).upper() if rule.isascii() else rule
    for part in text.removeprefix("RRULE:").removesuffix(";").split(";"):
        name, _, value = part.partition("=")
        if name in _UNSUPPORTED:
            raise refuse("recurrence", f"{name} is not supported.")
        if name not in _PARTS:
            raise refuse("recurrence", f"May have the parts {', '.join(_PARTS)}, each as NAME=VALUE.")
        normalize_value, description = _PARTS[name]
        normalized = normalize_value(value)
        if name in parts or normalized is None:
            raise refuse("recurrence", f"{name} must be given once, as {description}.")
        parts[name] = normalized
    return parts


def _check_combinations(parts: dict[str, str]) -> None:
    """Raise ValidationError if FREQ is missing, parts contradict or require each other, or UNTIL does not exist."""
    if "FREQ" not in parts:
        raise refuse("recurrence", "Needs FREQ.")
    if "UNTIL" in parts and "COUNT" in parts:
        raise refuse("recurrence", "Has UNTIL or COUNT, not both.")
    if "BYSETPOS" in parts and parts.keys().isdisjoint({"BYDAY", "BYMONTHDAY", "BYMONTH"}):
        raise refuse("recurrence", "BYSETPOS needs BYDAY, BYMONTHDAY or BYMONTH.")
    if parts["FREQ"] in ("DAILY", "WEEKLY") and re.search("[0-9]", parts.get("BYDAY", "")):
        raise refuse("recurrence", "BYDAY has numbers with FREQ=MONTHLY or YEARLY only.")
    if _has_ordinal_beyond_month(parts):
        raise refuse("recurrence", "BYDAY has numbers up to 5, or 53 with FREQ=YEARLY and no BYMONTH.")
    if parts["FREQ"] == "WEEKLY" and "BYMONTHDAY" in parts:
        raise refuse("recurrence", "BYMONTHDAY does not go with FREQ=WEEKLY.")
    if "UNTIL" in parts:
        _parse_until(parts["UNTIL"])


def _has_ordinal_beyond_month(parts: dict[str, str]) -> bool:
    """Return True if BYDAY has an ordinal above 5 (`6MO`) in a rule where ordinals count the weekdays of a month."""
    counts_in_year = parts["FREQ"] == "YEARLY" and "BYMONTH" not in parts
    return not counts_in_year and any(int(number) > 5 for number in re.findall("[0-9]+", parts.get("BYDAY", "")))


@dataclass(frozen=True)
class Rule:
    """A parsed rule. An empty set of months, month days or weekdays does not restrict the dates.

    `weekdays` has pairs of the weekday (0 is Monday) and the ordinal of BYDAY, 0 without one: `-1FR` is (4, -1).
    `positions` is BYSETPOS, empty without it. `week_start` is WKST, the weekday on which a week begins. `until` is the
    last possible date, inclusive.
    """

    frequency: str
    interval: int
    months: frozenset[int]
    month_days: frozenset[int]
    weekdays: frozenset[tuple[int, int]]
    positions: frozenset[int]
    week_start: int
    until: date
    count: int | None

    @classmethod
    def parse(cls, rule: str, clock: str | None = None, zone: str | None = None) -> Rule:
        """Parse a rule that `normalize` has returned, without validation.

        `clock` (`HH:MM`) and `zone` (IANA name) are those of the task; they decide only which day UNTIL is
        (`last_day`).
        """
        parts = dict(part.split("=", 1) for part in rule.split(";"))
        return cls(
            frequency=parts["FREQ"],
            interval=int(parts.get("INTERVAL", "1")),
            months=_numbers(parts.get("BYMONTH")),
            month_days=_numbers(parts.get("BYMONTHDAY")),
            weekdays=frozenset(
                (WEEKDAYS.index(item[-2:]), int(item[:-2] or "0")) for item in parts.get("BYDAY", "").split(",") if item
            ),
            positions=_numbers(parts.get("BYSETPOS")),
            week_start=WEEKDAYS.index(parts.get("WKST", "MO")),
            until=last_day(parts["UNTIL"], clock, zone) if "UNTIL" in parts else LAST_DAY,
            count=int(parts["COUNT"]) if "COUNT" in parts else None,
        )


def with_last_day(rule: str, start: date) -> str:
    """Return the rule changed to fall on the last day of each month that does not have the day of `start`.

    By RFC 5545 it would skip these months. `rule` is in normal form; the result has its parts in another order.
    Unchanged is a daily or weekly rule, one with days of its own, with BYSETPOS, or with several months of a year and
    an INTERVAL, and any rule if all months have the day.
    """
    is_yearly, has_months = "FREQ=YEARLY" in rule, "BYMONTH=" in rule
    has_other_days = re.search("FREQ=DAILY|FREQ=WEEKLY|BYDAY|BYMONTHDAY|BYSETPOS", rule)
    if start.day <= 28 or has_other_days or (is_yearly and "," in rule and "INTERVAL=" in rule):
        return rule
    if is_yearly and not has_months:
        rule += f";BYMONTH={start.month}"
    elif is_yearly and "," in rule:
        rule = rule.replace("FREQ=YEARLY", "FREQ=MONTHLY")  # BYSETPOS selects a day in each month, not in the year
    return f"{rule};BYMONTHDAY={','.join(map(str, range(28, start.day + 1)))};BYSETPOS=-1"


def _numbers(text: str | None) -> frozenset[int]:
    """Parse a comma-separated list of integers; None gives an empty set."""
    return frozenset(int(item) for item in text.split(",")) if text else frozenset()


def last_day(until: str, clock: str | None, zone: str | None) -> date:
    """Return the last due date that UNTIL allows, at most `LAST_DAY`, for a task due at `clock` (`HH:MM`) in `zone`.

    UNTIL is inclusive (RFC 5545, section 3.3.10): a date, a local time, or a time in UTC (`Z`), which is converted to
    `zone`, an IANA name (None: UTC). A task due later than UNTIL on its day is due the day before at the latest; one
    without `clock` counts as due at 00:00, and for a time of `_WHOLE_DAY` its date counts.
    """
    end = _parse_until(until)
    if not isinstance(end, datetime) or not FIRST_DAY <= end.date() < LAST_DAY:
        return min(end.date() if isinstance(end, datetime) else end, LAST_DAY)
    if end.tzinfo is not None:
        if clock is None and f"{end:%H%M%S}" in _WHOLE_DAY:
            return end.date()
        end = end.astimezone(ZoneInfo(zone) if zone else UTC)
    due = datetime.combine(end.date(), time.fromisoformat(clock or "00:00"), end.tzinfo)
    # Python compares two times of one zone without their offsets, which differ where the clock was changed.
    is_past = due > end if end.tzinfo is None else due.astimezone(UTC) > end.astimezone(UTC)
    return end.date() - timedelta(days=is_past)


_WHOLE_DAY = ("000000", "235959")
"""Times in UTC by which calendars mean the day itself, for an event without a time. The end of a day in another zone is
a different time in UTC, such as 075959Z for Los Angeles."""


def _parse_until(text: str) -> date:
    """Parse an UNTIL that matches `_UNTIL`: a date, a datetime without zone, or with `Z` one in UTC (aware).

    Raises ValidationError for a day or a time that does not exist, such as 20260230.
    """
    try:
        return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError as error:
        raise refuse("recurrence", "UNTIL must be a day and a time that the calendar has.") from error
