"""Parse the recurrence rules of tasks: the subset of RFC 5545's RRULE (section 3.3.10) that is allowed.

`dateutil`, the usual library, never returns for `INTERVAL=0`, and searches for a date up to the year 9999 when no day
fits a rule, which takes seconds. So each part of a rule is compared with a list of what is allowed, and occurrences.py
searches a bounded number of periods. The tests compare it with `dateutil`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from ...http.fields.strict import refuse
from ...http.fields.time import LAST_DAY

MAX_RULE = 200

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_WEEKDAY = "(MO|TU|WE|TH|FR|SA|SU)"
_ORDINAL = "-?([1-9]|[1-4][0-9]|5[0-3])"
_MONTHDAY = "-?([1-9]|[12][0-9]|3[01])"
_MONTH = "([1-9]|1[0-2])"


def _list_of(item: str) -> Callable[[str], bool]:
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
_SINGLE = ("FREQ", "INTERVAL", "UNTIL", "COUNT")
_UNSUPPORTED = ("BYSECOND", "BYMINUTE", "BYHOUR", "BYYEARDAY", "BYWEEKNO", "WKST")
"""The other parts of RFC 5545: refused by name. Any other name is the client's own and not repeated to it."""


def normalize(rule: str) -> str:
    """The rule as it is kept. Raises ValidationError that names the part which is not allowed."""
    parts = _parts(rule)
    _check_combinations(parts)
    return ";".join(f"{name}={parts[name]}" for name in _PARTS if name in parts)


def _parts(rule: str) -> dict[str, str]:
    """The parts of a rule, each allowed by itself."""
    parts: dict[str, str] = {}
    # ASCII only: upper case makes letters of the list out of others, such as "I" out of a dotless one.
    text = rule.upper() if rule.isascii() else rule
    for part in text.removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name in _UNSUPPORTED:
            raise refuse("recurrence", f"{name} is not supported.")
        if name not in _PARTS:
            raise refuse("recurrence", f"May have the parts {', '.join(_PARTS)}, each as NAME=VALUE.")
        allowed, description = _PARTS[name]
        if name in parts or not allowed(value) or (name in _SINGLE and "," in value):
            raise refuse("recurrence", f"{name} must be given once, as {description}.")
        parts[name] = value
    return parts


def _check_combinations(parts: dict[str, str]) -> None:
    """Refuse parts that do not go together."""
    if "FREQ" not in parts:
        raise refuse("recurrence", "Needs FREQ.")
    if "UNTIL" in parts and "COUNT" in parts:
        raise refuse("recurrence", "Has UNTIL or COUNT, not both.")
    if "BYSETPOS" in parts and parts.keys().isdisjoint({"BYDAY", "BYMONTHDAY", "BYMONTH"}):
        raise refuse("recurrence", "BYSETPOS needs BYDAY, BYMONTHDAY or BYMONTH.")
    if parts["FREQ"] in ("DAILY", "WEEKLY") and re.search("[0-9]", parts.get("BYDAY", "")):
        raise refuse("recurrence", "BYDAY has numbers with FREQ=MONTHLY or YEARLY only.")
    if _counts_past_month(parts):
        raise refuse("recurrence", "BYDAY has numbers up to 5, or 53 with FREQ=YEARLY and no BYMONTH.")
    if parts["FREQ"] == "WEEKLY" and "BYMONTHDAY" in parts:
        raise refuse("recurrence", "BYMONTHDAY does not go with FREQ=WEEKLY.")
    if "UNTIL" in parts:
        _day(parts["UNTIL"])


def _counts_past_month(parts: dict[str, str]) -> bool:
    of_year = parts["FREQ"] == "YEARLY" and "BYMONTH" not in parts
    return not of_year and any(int(number) > 5 for number in re.findall("[0-9]+", parts.get("BYDAY", "")))


@dataclass(frozen=True)
class Rule:
    """A normalized rule, taken apart; an empty set fits everything. A weekday is (its number, 0 or its place)."""

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
        """Parse a rule as `normalize` returns it."""
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
            # No task is due after the last day, whatever its rule says.
            until=min(_day(parts["UNTIL"]), LAST_DAY) if "UNTIL" in parts else LAST_DAY,
            count=int(parts["COUNT"]) if "COUNT" in parts else None,
        )


def _numbers(text: str | None) -> frozenset[int]:
    return frozenset(int(item) for item in text.split(",")) if text else frozenset()


def _day(text: str) -> date:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise refuse("recurrence", "UNTIL must be a day that the calendar has.") from error
