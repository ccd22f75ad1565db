"""Repeating tasks: a subset of RFC 5545's RRULE (section 3.3.10) that ends soon, whatever it says.

`dateutil`, the usual library, follows `INTERVAL=0` for ever, and a rule that no day fits up to the year 9999, which
takes seconds. So a rule is read part by part against a list of what is allowed, and its periods are walked here,
a bounded number of them. The tests hold the walk against `dateutil`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from marshmallow import ValidationError

from ..fields import LAST_DAY, Violation, refuse

MAX_RULE = 200

MAX_PERIODS = {"DAILY": 1200, "WEEKLY": 600, "MONTHLY": 600, "YEARLY": 50}
"""How many periods are looked through, those of DAILY being months.

The rarest day, a leap day that is a Monday, comes at least every 40 years. An import brings 10,000 rules at once,
so one that is hard to fulfil may take a few milliseconds and no more.
"""

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_WEEKDAY = "(MO|TU|WE|TH|FR|SA|SU)"
_ORDINAL = "-?([1-9]|[1-4][0-9]|5[0-3])"
_MONTHDAY = "-?([1-9]|[12][0-9]|3[01])"
_MONTH = "([1-9]|1[0-2])"


def _listed(item: str) -> Callable[[str], bool]:
    pattern = re.compile(f"{item}(,{item})*")
    return lambda text: pattern.fullmatch(text) is not None


_PARTS: dict[str, tuple[Callable[[str], bool], str]] = {
    "FREQ": (_listed("(DAILY|WEEKLY|MONTHLY|YEARLY)"), "one of DAILY, WEEKLY, MONTHLY, YEARLY"),
    "INTERVAL": (_listed("[1-9][0-9]{0,2}"), "a number from 1 to 999"),
    "BYDAY": (_listed(f"({_ORDINAL})?{_WEEKDAY}"), "weekdays such as MO,TH or, by month or year, 1MO or -1FR"),
    "BYMONTHDAY": (_listed(_MONTHDAY), "days of the month, 1 to 31 or -31 to -1"),
    "BYMONTH": (_listed(_MONTH), "months, 1 to 12"),
    "BYSETPOS": (lambda text: text == "-1", "-1, the last"),
    "UNTIL": (_listed("[0-9]{8}"), "a date such as 20261231"),
    "COUNT": (_listed("[1-9][0-9]{0,2}"), "a number from 1 to 999"),
}
_SINGLE = ("FREQ", "INTERVAL", "UNTIL", "COUNT")
_NEVER = ("BYSECOND", "BYMINUTE", "BYHOUR", "BYYEARDAY", "BYWEEKNO", "WKST")
"""The other parts of RFC 5545: refused by name. Any other name is the client's own and not repeated to it."""


def normalize(rule: str) -> str:
    """The rule as it is kept. Raises ValidationError that names the part which is not allowed."""
    parts = _parts(rule)
    _agree(parts)
    return ";".join(f"{name}={parts[name]}" for name in _PARTS if name in parts)


def _parts(rule: str) -> dict[str, str]:
    """The parts of a rule, each allowed by itself."""
    parts: dict[str, str] = {}
    # ASCII only: upper case makes letters of the list out of others, such as "I" out of a dotless one.
    text = rule.upper() if rule.isascii() else rule
    for part in text.removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name in _NEVER:
            raise refuse("recurrence", f"{name} is not supported.")
        if name not in _PARTS:
            raise refuse("recurrence", f"May have the parts {', '.join(_PARTS)}, each as NAME=VALUE.")
        allowed, description = _PARTS[name]
        if name in parts or not allowed(value) or (name in _SINGLE and "," in value):
            raise refuse("recurrence", f"{name} must be given once, as {description}.")
        parts[name] = value
    return parts


def _agree(parts: dict[str, str]) -> None:
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


def check(rule: str, due: date) -> None:
    """Refuse a rule that no day after the due one fits, unless it was meant to end there."""
    ends = re.search("COUNT|UNTIL", rule)
    if not ends and following(rule, due, due) is None:
        raise ValidationError({"recurrence": [Violation("recurrence", "Never comes again, or not for decades.")]})


def following(rule: str, due: date, after: date, *, occurrence: int = 1) -> date | None:
    """The rule's first date after both days, in step with the due one; None when the series has ended.

    `occurrence` is the place of the due date in its series, which COUNT is held against.
    """
    parsed = _Rule.parse(rule)
    if parsed.count is not None and occurrence >= parsed.count:
        return None
    after = max(due, after)
    for days in _periods(parsed, due, after):
        for day in days:
            if day > after:
                return day if day <= parsed.until else None
    return None


@dataclass(frozen=True)
class _Rule:
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
    def parse(cls, rule: str) -> _Rule:
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


def _periods(rule: _Rule, due: date, after: date) -> Iterator[list[date]]:
    """The fitting days of one period after the other, from the last that begins by `after`."""
    rule, spans_of = _complete(rule, due), _SPANS[rule.frequency]
    stride = 1 if rule.frequency == "DAILY" else rule.interval
    # Straight to the neighbourhood of `after`: a task that is years overdue costs no walk through all of them.
    first = max(0, (_number(rule.frequency, after) - _number(rule.frequency, due)) // stride)
    for step in range(first, first + MAX_PERIODS[rule.frequency]):
        try:
            spans = spans_of(rule, due, step * stride)
        except (OverflowError, ValueError):
            return  # beyond the last year there is
        if spans and spans[0][0] > rule.until:
            return
        days = [day for span in spans for day in _fitting(rule, due, *span)]
        yield days[-1:] if rule.last_only else days


def _complete(rule: _Rule, due: date) -> _Rule:
    """What a rule leaves open is as on the due date. A month that lacks its day is passed over, so no date drifts."""
    if rule.frequency == "DAILY":
        return replace(rule, last_only=False)  # each day is the last of itself
    if rule.frequency == "WEEKLY" and not rule.weekdays:
        return replace(rule, weekdays=frozenset({(due.weekday(), 0)}))
    if rule.frequency in ("MONTHLY", "YEARLY") and not rule.weekdays and not rule.month_days:
        months = rule.months or (frozenset({due.month}) if rule.frequency == "YEARLY" else rule.months)
        return replace(rule, months=months, month_days=frozenset({due.day}))
    return rule


def _number(frequency: str, day: date) -> int:
    """The number of the period that a day lies in; weeks begin on Monday."""
    if frequency == "WEEKLY":
        return (day.toordinal() - 1) // 7
    return day.year if frequency == "YEARLY" else day.year * 12 + day.month


# A span is the first and the last day of what numbered weekdays are counted within.
_Spans = Sequence[tuple[date, date]]


def _weekly(_rule: _Rule, due: date, offset: int) -> _Spans:
    monday = due - timedelta(days=due.weekday()) + timedelta(weeks=offset)
    return [(monday, monday + timedelta(days=6))]


def _monthly(rule: _Rule, due: date, offset: int) -> _Spans:
    year, month = divmod(due.year * 12 + due.month - 1 + offset, 12)
    return [_month_span(year, month + 1)] if not rule.months or month + 1 in rule.months else []


def _yearly(rule: _Rule, due: date, offset: int) -> _Spans:
    year = due.year + offset
    if not rule.months:
        return [(date(year, 1, 1), date(year, 12, 31))]
    return [_month_span(year, month) for month in sorted(rule.months)]


_SPANS: dict[str, Callable[[_Rule, date, int], _Spans]] = {
    "DAILY": _monthly,
    "WEEKLY": _weekly,
    "MONTHLY": _monthly,
    "YEARLY": _yearly,
}


def _month_span(year: int, month: int) -> tuple[date, date]:
    return date(year, month, 1), date(year, month, monthrange(year, month)[1])


def _fitting(rule: _Rule, due: date, first: date, last: date) -> list[date]:
    """The days of a span that fit, in order: those that every part of the rule names."""
    named = []
    if rule.frequency == "DAILY":
        start = first.toordinal() + (due - first).days % rule.interval
        named.append(set(range(start, last.toordinal() + 1, rule.interval)))
    if rule.weekdays:
        named.append(_on_weekdays(rule, first, last))
    if rule.month_days:
        named.append(_on_month_days(rule, first, last))
    days = map(date.fromordinal, sorted(set.intersection(*named)))
    return [day for day in days if not rule.months or day.month in rule.months]


def _on_weekdays(rule: _Rule, first: date, last: date) -> set[int]:
    days: set[int] = set()
    for weekday, place in rule.weekdays:
        all_of_them = range(first.toordinal() + (weekday - first.weekday()) % 7, last.toordinal() + 1, 7)
        if place == 0:
            days.update(all_of_them)
        elif abs(place) <= len(all_of_them):
            days.add(all_of_them[place - 1 if place > 0 else place])
    return days


def _on_month_days(rule: _Rule, first: date, last: date) -> set[int]:
    days: set[int] = set()
    for month in range(first.month, last.month + 1):
        start, end = (bound.toordinal() for bound in _month_span(first.year, month))
        counted = (start + number - 1 if number > 0 else end + number + 1 for number in rule.month_days)
        days.update(day for day in counted if start <= day <= end)
    return days


def _day(text: str) -> date:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise refuse("recurrence", "UNTIL must be a day that the calendar has.") from error
