"""Find the next due date of a recurring task, in a bounded number of steps whatever the rule says.

A rule is evaluated span by span (a week, a month or a year). The days of a span are the bits of an integer, bit 0 being
its first day, so each part of a rule is a mask and the days that fit are the intersection of the masks. A mask depends
only on the length of the span and on the weekday that it begins on, so each is computed once per search.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from operator import or_

from marshmallow import ValidationError

from ...http.fields.strict import Violation, refuse
from ...http.fields.time import LAST_DAY
from .rrule import Rule

MAX_PERIODS = {"DAILY": 1200, "WEEKLY": 600, "MONTHLY": 600, "YEARLY": 50}
"""How many periods one search examines at most; for DAILY a period is a month.

The rarest date, a leap day on a Monday, recurs within 40 years.
"""

Span = tuple[int, int]
"""The ordinal of the first day (`date.toordinal`), and the length in days."""

_MONTHS = {
    365: (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    366: (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
}
"""The lengths of the months of a year of so many days."""

LONGEST_MONTH = 31


@dataclass
class SearchBudget:
    """How many spans the searches of one request may examine in total; `spent` counts them."""

    limit: int
    spent: int = 0

    def spend(self, spans: int) -> None:
        """Count examined spans. Raises ValidationError when the total exceeds the limit."""
        self.spent += spans
        if self.spent > self.limit:
            raise refuse("recurrence", "The rules of this request take too long to evaluate: send fewer at a time.")


_budget: ContextVar[SearchBudget | None] = ContextVar("taskapi_search_budget", default=None)


@contextmanager
def search_budget(limit: int) -> Iterator[SearchBudget]:
    """Limit the searches made inside the block to this many examined spans in total."""
    budget = SearchBudget(limit)
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


def check_recurs(rule: str, due: date) -> None:
    """Refuse a rule without an end that never comes again, or not for decades. Raises ValidationError."""
    ends = "COUNT" in rule or "UNTIL" in rule
    if not ends and next_date(rule, due, due) is None:
        raise ValidationError({"recurrence": [Violation("recurrence", "Never comes again, or not for decades.")]})


def next_date(rule: str, due: date, after: date, *, occurrence: int = 1) -> date | None:
    """Return the rule's first date after both days, in step with the due one; None when the series has ended.

    `occurrence` is the position of the due date in its series, which COUNT is compared with. Raises ValidationError
    when the budget of the request is exceeded.
    """
    parsed = Rule.parse(rule)
    if parsed.count is not None and occurrence >= parsed.count:
        return None
    search = _Search(_completed(parsed, due), due)
    found = search.first_after(max(due, after))
    return found if found is not None and found <= parsed.until else None


def _completed(rule: Rule, due: date) -> Rule:
    """Take what a rule leaves open from the due date. A month that lacks the day is skipped, so no date drifts."""
    if rule.frequency == "DAILY":
        return replace(rule, last_only=False)  # each day is the last of itself
    if rule.frequency == "WEEKLY" and not rule.weekdays:
        return replace(rule, weekdays=frozenset({(due.weekday(), 0)}))
    if rule.frequency in ("MONTHLY", "YEARLY") and not rule.weekdays and not rule.month_days:
        months = rule.months or (frozenset({due.month}) if rule.frequency == "YEARLY" else rule.months)
        return replace(rule, months=months, month_days=frozenset({due.day}))
    return rule


class _Search:
    """One search: the rule, the date that it is in step with, and the masks computed so far."""

    def __init__(self, rule: Rule, due: date) -> None:
        self._rule, self._due, self._due_ordinal = rule, due, due.toordinal()
        self._masks: dict[Span, int] = {}
        self._steps = _every(rule.interval, 0, LONGEST_MONTH)

    def first_after(self, after: date) -> date | None:
        """Return the first date after a day that is not before the due date; the date may be later than UNTIL."""
        budget, until = _budget.get(), self._rule.until.toordinal()
        for spans in _PERIODS[self._rule.frequency](self._rule, self._due, after):
            if spans[0][0] > until:
                return None
            if budget is not None:
                budget.spend(len(spans))
            found = self._first(spans, after.toordinal() + 1)
            if found is not None:
                return date.fromordinal(found)
        return None

    def _first(self, spans: Sequence[Span], earliest: int) -> int | None:
        """Return the first fitting day of a period that is not before the earliest."""
        if self._rule.last_only:
            last = next((start + days.bit_length() - 1 for start, days in self._fitting(reversed(spans))), 0)
            return last if last >= earliest else None
        for start, days in self._fitting(spans):
            passed = max(0, earliest - start)
            left = days >> passed
            if left:
                return start + passed + (left & -left).bit_length() - 1
        return None

    def _fitting(self, spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
        """Yield the start and the mask of each span that has a day which every part of the rule names."""
        rule = self._rule
        for start, length in spans:
            key = ((start - 1) % 7, length)
            days = self._masks.get(key)
            if days is None:
                days = self._masks[key] = _days_named(rule, *key)
            if days and rule.frequency == "DAILY":
                days &= self._steps << (self._due_ordinal - start) % rule.interval
            elif days and rule.frequency == "WEEKLY" and rule.months:
                days &= _days_in_months(rule.months, start)
            if days:
                yield start, days


def _days_named(rule: Rule, first_weekday: int, length: int) -> int:
    """The days of a span that BYDAY and BYMONTHDAY name."""
    days: int = (1 << length) - 1
    if rule.weekdays:
        days &= reduce(or_, (_on_weekday(day, place, first_weekday, length) for day, place in rule.weekdays))
    if rule.month_days:
        days &= _on_month_days(rule.month_days, length)
    return days


def _on_weekday(weekday: int, place: int, first_weekday: int, length: int) -> int:
    """The days of a span that fall on a weekday: all of them, or the one at that place, from the end if negative."""
    first = (weekday - first_weekday) % 7
    if place == 0:
        return _every(7, first, length)
    number = place - 1 if place > 0 else (length - first + 6) // 7 + place
    day = first + 7 * number
    return 1 << day if number >= 0 and day < length else 0


def _on_month_days(numbers: frozenset[int], length: int) -> int:
    """The days of a month, or of each month of a year, that have one of these numbers; negative ones from the end."""
    days = start = 0
    for month in [length] if length <= LONGEST_MONTH else _MONTHS[length]:
        for number in numbers:
            day = number - 1 if number > 0 else month + number
            if 0 <= day < month:
                days |= 1 << start + day
        start += month
    return days


def _days_in_months(months: frozenset[int], monday: int) -> int:
    """The days of a week that lie in one of these months."""
    first, last = date.fromordinal(monday), date.fromordinal(monday + 6)
    days = 0b111_1111 if first.month in months else 0
    if first.month != last.month:
        before = (1 << 7 - last.day) - 1  # the days of the earlier month
        days = (days & before) | (before ^ 0b111_1111 if last.month in months else 0)
    return days


def _every(interval: int, first: int, length: int) -> int:
    """Every so many days of a span, beginning with the first."""
    return sum(1 << day for day in range(first, length, interval))


def _weeks(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    monday = due.toordinal() - due.weekday()
    first = max(0, (after.toordinal() - monday) // 7 // rule.interval)
    for step in range(first, first + MAX_PERIODS["WEEKLY"]):
        yield [(monday + 7 * rule.interval * step, 7)]


def _months(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    # The steps of a DAILY rule are days, so it can come in every month.
    stride = 1 if rule.frequency == "DAILY" else rule.interval
    start = due.year * 12 + due.month - 1
    first = max(0, (after.year * 12 + after.month - 1 - start) // stride)
    for step in range(first, first + MAX_PERIODS[rule.frequency]):
        year, month = divmod(start + step * stride, 12)
        if year > LAST_DAY.year:
            return
        if not rule.months or month + 1 in rule.months:
            yield [_month(year, month + 1)]


def _years(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    first = max(0, (after.year - due.year) // rule.interval)
    for step in range(first, first + MAX_PERIODS["YEARLY"]):
        year = due.year + step * rule.interval
        if year > LAST_DAY.year:
            return
        if rule.months:
            yield [_month(year, month) for month in sorted(rule.months)]
        else:
            yield [(date(year, 1, 1).toordinal(), 365 + isleap(year))]


def _month(year: int, month: int) -> Span:
    return date(year, month, 1).toordinal(), _MONTHS[365 + isleap(year)][month - 1]


_PERIODS: dict[str, Callable[[Rule, date, date], Iterator[Sequence[Span]]]] = {
    "DAILY": _months,
    "WEEKLY": _weeks,
    "MONTHLY": _months,
    "YEARLY": _years,
}
"""The spans of one period after the other, from the period that `after` lies in: a jump, and not a walk from `due`."""
