"""Parse and normalize recurrence rules: the supported subset of RFC 5545's RRULE (section 3.3.10).

`dateutil`, the usual library, never returns for `INTERVAL=0`, and searches up to the year 9999 when no day matches a
rule, which takes seconds. So each part of a rule is validated against an allowlist here, and occurrences.py searches a
bounded number of periods. The tests compare the results with `dateutil`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from ...http.fields.strict import refuse
from ...http.fields.time import LAST_DAY

MAX_RULE = 200
"""Maximum length of a rule in characters."""

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
"""The weekdays of RFC 5545, in the order of `date.weekday`."""

_WEEKDAY = "(MO|TU|WE|TH|FR|SA|SU)"
_ORDINAL = "-?([1-9]|[1-4][0-9]|5[0-3])"
_MONTHDAY = "-?([1-9]|[12][0-9]|3[01])"
_MONTH = "([1-9]|1[0-2])"


def _list_of(item: str) -> Callable[[str], bool]:
    """Return a function that tests whether a text is a comma-separated list of values matching the pattern `item`."""
    pattern = re.compile(f"{item}(,{item})*")
    return lambda text: pattern.fullmatch(text) is not None


_PARTS: dict[str, tuple[Callable[[str], bool], str]] = {
    "FREQ": (_list_of("(DAILY|WEEKLY|MONTHLY|YEARLY)"), "one of DAILY, WEEKLY, MONTHLY, YEARLY"),
    "INTERVAL": (_list_of("[1-9][0-9]{0,2}"), "a number from 1 to 999"),
    "BYDAY": (_list_of(f"({_ORDINAL})?{_WEEKDAY}"), "weekdays such as MO,TH or, by month or year, 1MO or -1FR"),
    "BYMONTHDAY": (_list_of(_MONTHDAY), "days of the month, 1 to 31 or -31 to -1"),
    "BYMONTH": (_list_of(_MONTH), "months, 1 to 12"),
    "BYSETPOS": (lambda text: text == "-1", "-1, the last"),
    "UNTIL": (_list_of("[0-9]{8}"), "a date such as 20261231"),
    "COUNT": (_list_of("[1-9][0-9]{0,2}"), "a number from 1 to 999"),
}
"""The supported parts in their normalized order: a function that validates the value, and its description in errors."""
_SINGLE = ("FREQ", "INTERVAL", "UNTIL", "COUNT")
"""The parts that take one value, not a list."""
_UNSUPPORTED = ("BYSECOND", "BYMINUTE", "BYHOUR", "BYYEARDAY", "BYWEEKNO", "WKST")
"""The other parts of RFC 5545. The error names them; any other name is client input, which errors do not echo."""


def normalize(rule: str) -> str:
    """Validate a rule and return it as it is stored: upper case, without `RRULE:`, its parts in a fixed order.

    Raises ValidationError with the part that is not allowed.
    """
    parts = _split_parts(rule)
    _check_combinations(parts)
    return ";".join(f"{name}={parts[name]}" for name in _PARTS if name in parts)


def _split_parts(rule: str) -> dict[str, str]:
    """Split a rule into its parts, in upper case, and validate each by itself. Raises ValidationError."""
    parts: dict[str, str] = {}
    # Only ASCII: `upper` would turn other letters into allowed ones, such as the dotless i into "I".
    text = rule.upper() if rule.isascii() else rule
    for part in text.removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name in _UNSUPPORTED:
            raise refuse("recurrence", f"{name} is not supported.")
        if name not in _PARTS:
            raise refuse("recurrence", f"May have the parts {', '.join(_PARTS)}, each as NAME=VALUE.")
        is_allowed, description = _PARTS[name]
        if name in parts or not is_allowed(value) or (name in _SINGLE and "," in value):
            raise refuse("recurrence", f"{name} must be given once, as {description}.")
        parts[name] = value
    return parts


def _check_combinations(parts: dict[str, str]) -> None:
    """Raise ValidationError for parts that contradict each other, or a part that requires another."""
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
    """Return True if BYDAY has an ordinal above 5 (`6MO`) although it counts within a month, not within a year."""
    counts_in_year = parts["FREQ"] == "YEARLY" and "BYMONTH" not in parts
    return not counts_in_year and any(int(number) > 5 for number in re.findall("[0-9]+", parts.get("BYDAY", "")))


@dataclass(frozen=True)
class Rule:
    """A parsed rule. An empty set of months, month days or weekdays does not restrict the dates.

    `weekdays` has pairs of the weekday (0 is Monday) and the ordinal of BYDAY, 0 without one: `-1FR` is (4, -1).
    `last_only` is BYSETPOS=-1. `until` is the last possible date, inclusive.
    """

    frequency: str
    interval: int
    months: frozenset[int]
    month_days: frozenset[int]
    weekdays: frozenset[tuple[int, int]]
    last_only: bool
    until: date
    count: int | None

    @classmethod
    def parse(cls, rule: str) -> Rule:
        """Parse a rule that `normalize` has returned, without validation; its `until` is at most `LAST_DAY`."""
        parts = dict(part.split("=", 1) for part in rule.split(";"))
        return cls(
            frequency=parts["FREQ"],
            interval=int(parts.get("INTERVAL", "1")),
            months=_numbers(parts.get("BYMONTH")),
            month_days=_numbers(parts.get("BYMONTHDAY")),
            weekdays=frozenset(
                (WEEKDAYS.index(item[-2:]), int(item[:-2] or "0")) for item in parts.get("BYDAY", "").split(",") if item
            ),
            last_only="BYSETPOS" in parts,
            # LAST_DAY is the last due date that a task may have.
            until=min(_parse_until(parts["UNTIL"]), LAST_DAY) if "UNTIL" in parts else LAST_DAY,
            count=int(parts["COUNT"]) if "COUNT" in parts else None,
        )


def _numbers(text: str | None) -> frozenset[int]:
    """Parse a comma-separated list of integers; None gives an empty set."""
    return frozenset(int(item) for item in text.split(",")) if text else frozenset()


def _parse_until(text: str) -> date:
    """Parse the value of UNTIL, a date such as 20261231. Raises ValidationError for a day that does not exist."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise refuse("recurrence", "UNTIL must be a day that the calendar has.") from error
