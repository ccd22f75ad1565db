"""Find the next due date of a recurring task, in a bounded number of steps for any rule.

A rule is evaluated span by span (a week, a month or a year). The days of a span are the bits of an integer, bit 0 being
its first day. Each part of a rule is a bit mask, and the intersection of the masks gives the matching days. A mask
depends only on the length of the span and on its first weekday, so each is computed once per search.
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
"""Maximum number of periods that one search examines, by FREQ; for DAILY a period is a month.

The rarest date, a leap day on a given weekday, recurs within 40 years.
"""

Span = tuple[int, int]
"""The ordinal of the first day (`date.toordinal`), and the length in days."""

_MONTHS = {
    365: (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    366: (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
}
"""The lengths of the 12 months in days, by the length of the year."""

LONGEST_MONTH = 31
"""Days."""


@dataclass
class SearchBudget:
    """Maximum number of spans that all searches of one request may examine together; `spent` is the number so far."""

    limit: int
    spent: int = 0

    def spend(self, spans: int) -> None:
        """Add examined spans. Raises ValidationError when the total exceeds the limit."""
        self.spent += spans
        if self.spent > self.limit:
            raise refuse("recurrence", "The rules of this request take too long to evaluate: send fewer at a time.")


_budget: ContextVar[SearchBudget | None] = ContextVar("taskapi_search_budget", default=None)
"""The budget of the current request; None: no limit."""


@contextmanager
def search_budget(limit: int) -> Iterator[SearchBudget]:
    """Context manager: limit all searches inside the block to `limit` examined spans in total (ValidationError)."""
    budget = SearchBudget(limit)
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


def check_recurs(rule: str, due: date) -> None:
    """Check that a rule without COUNT and UNTIL has a date after `due` within the search limits.

    A rule with COUNT or UNTIL may have none. Raises ValidationError for a rule that must have one, such as for
    February 30, and as `next_date` does.
    """
    ends = "COUNT" in rule or "UNTIL" in rule
    if not ends and next_date(rule, due, due) is None:
        raise ValidationError({"recurrence": [Violation("recurrence", "Never comes again, or not for decades.")]})


def next_date(rule: str, due: date, after: date, *, occurrence: int = 1) -> date | None:
    """Return the first date of the rule that is later than `due` and `after`; None when the series has ended.

    None also if no date is found within `MAX_PERIODS`. `due` is the start of the series (DTSTART in RFC 5545): INTERVAL
    counts from it. `occurrence` is the number of the due date in its series, counted from 1, and is compared with
    COUNT. Raises ValidationError when the search budget of the request is exceeded.
    """
    parsed = Rule.parse(rule)
    if parsed.count is not None and occurrence >= parsed.count:
        return None
    search = _Search(_with_defaults(parsed, due), due)
    day = search.first_after(max(due, after))
    return day if day is not None and day <= parsed.until else None


def _with_defaults(rule: Rule, due: date) -> Rule:
    """Return the rule with missing weekdays, month days and months taken from the due date (RFC 5545, 3.3.10).

    A month without that day is skipped: a monthly rule from January 31 has no date in February. BYSETPOS has no effect
    on a daily rule.
    """
    if rule.frequency == "DAILY":
        return replace(rule, last_only=False)  # BYSETPOS=-1 selects the last day of each period, here of one day
    if rule.frequency == "WEEKLY" and not rule.weekdays:
        return replace(rule, weekdays=frozenset({(due.weekday(), 0)}))
    if rule.frequency in ("MONTHLY", "YEARLY") and not rule.weekdays and not rule.month_days:
        months = rule.months or (frozenset({due.month}) if rule.frequency == "YEARLY" else rule.months)
        return replace(rule, months=months, month_days=frozenset({due.day}))
    return rule


class _Search:
    """A search for the next date of a rule with all defaults, with a cache of the masks of its spans."""

    def __init__(self, rule: Rule, due: date) -> None:
        self._rule, self._due, self._due_ordinal = rule, due, due.toordinal()
        self._masks: dict[Span, int] = {}
        self._interval_mask = _every(rule.interval, 0, LONGEST_MONTH)

    def first_after(self, after: date) -> date | None:
        """Return the rule's first date after `after`, which must not be before the due date; None if no date is found.

        Stops at the first period after UNTIL and after MAX_PERIODS. The date may be later than UNTIL, within its
        period. Raises ValidationError when the search budget of the request is exceeded.
        """
        budget, until = _budget.get(), self._rule.until.toordinal()
        for spans in _PERIODS[self._rule.frequency](self._rule, self._due, after):
            if spans[0][0] > until:
                return None
            if budget is not None:
                budget.spend(len(spans))
            ordinal = self._first(spans, after.toordinal() + 1)
            if ordinal is not None:
                return date.fromordinal(ordinal)
        return None

    def _first(self, spans: Sequence[Span], earliest: int) -> int | None:
        """Return the first matching day (an ordinal) of a period, not before `earliest`; None if no day matches.

        With BYSETPOS=-1 only the last matching day of the period counts.
        """
        if self._rule.last_only:
            last = next((start + days.bit_length() - 1 for start, days in self._matching(reversed(spans))), 0)
            return last if last >= earliest else None
        for start, days in self._matching(spans):
            skipped = max(0, earliest - start)
            remaining = days >> skipped
            if remaining:
                return start + skipped + (remaining & -remaining).bit_length() - 1  # the lowest bit that is set
        return None

    def _matching(self, spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
        """Yield the start of each span with matching days, and their mask: BYDAY, BYMONTHDAY, DAILY's INTERVAL.

        BYMONTH selects days of a week only: longer spans were selected by it before. Caches the masks.
        """
        rule = self._rule
        for start, length in spans:
            key = ((start - 1) % 7, length)
            days = self._masks.get(key)
            if days is None:
                days = self._masks[key] = _matching_days(rule, *key)
            if days and rule.frequency == "DAILY":
                days &= self._interval_mask << (self._due_ordinal - start) % rule.interval
            elif days and rule.frequency == "WEEKLY" and rule.months:
                days &= _days_in_months(rule.months, start)
            if days:
                yield start, days


def _matching_days(rule: Rule, first_weekday: int, length: int) -> int:
    """Return the mask of the days of a span that match BYDAY and BYMONTHDAY.

    `first_weekday` is the weekday of the span's first day (0 is Monday), `length` its number of days.
    """
    days: int = (1 << length) - 1
    if rule.weekdays:
        days &= reduce(or_, (_on_weekday(day, ordinal, first_weekday, length) for day, ordinal in rule.weekdays))
    if rule.month_days:
        days &= _on_month_days(rule.month_days, length)
    return days


def _on_weekday(weekday: int, ordinal: int, first_weekday: int, length: int) -> int:
    """Return the mask of the days of a span that fall on a weekday.

    `ordinal` 0 selects all of them, 2 the second one, -1 the last one; none if the span has no such day.
    """
    first = (weekday - first_weekday) % 7
    if ordinal == 0:
        return _every(7, first, length)
    number = ordinal - 1 if ordinal > 0 else (length - first + 6) // 7 + ordinal
    day = first + 7 * number
    return 1 << day if number >= 0 and day < length else 0


def _on_month_days(numbers: frozenset[int], length: int) -> int:
    """Return the mask of these days of the month, in a month or in each month of a year; -1 is the last day.

    A day that a month does not have is left out.
    """
    days = start = 0
    for month in [length] if length <= LONGEST_MONTH else _MONTHS[length]:
        for number in numbers:
            day = number - 1 if number > 0 else month + number
            if 0 <= day < month:
                days |= 1 << start + day
        start += month
    return days


def _days_in_months(months: frozenset[int], monday: int) -> int:
    """Return the mask of the days of a week that are in one of these months; `monday` is an ordinal."""
    first, last = date.fromordinal(monday), date.fromordinal(monday + 6)
    days = 0b111_1111 if first.month in months else 0
    if first.month != last.month:
        before = (1 << 7 - last.day) - 1  # the days in the earlier month
        days = (days & before) | (before ^ 0b111_1111 if last.month in months else 0)
    return days


def _every(interval: int, first: int, length: int) -> int:
    """Return the mask of every `interval`-th day of a span of `length` days, starting with day `first` (0-based)."""
    return sum(1 << day for day in range(first, length, interval))


def _weeks(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    """Yield every INTERVAL-th week, counted from that of `due`.

    They are from the week of `after`, or the last before it, on, and at most `MAX_PERIODS`.
    """
    monday = due.toordinal() - due.weekday()
    first = max(0, (after.toordinal() - monday) // 7 // rule.interval)
    for step in range(first, first + MAX_PERIODS["WEEKLY"]):
        yield [(monday + 7 * rule.interval * step, 7)]


def _months(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    """Yield every INTERVAL-th month (DAILY: every month), counted from that of `due`, if BYMONTH allows it.

    They are from `after` on, and at most `MAX_PERIODS`; they end with `LAST_DAY`.
    """
    # INTERVAL of a DAILY rule counts days, so a date can be in any month.
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
    """Yield every INTERVAL-th year, counted from that of `due`: as one span, or as its months from BYMONTH.

    They are from `after` on, and at most `MAX_PERIODS`; they end with `LAST_DAY`.
    """
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
    """Return the span of a month (1 to 12)."""
    return date(year, month, 1).toordinal(), _MONTHS[365 + isleap(year)][month - 1]


_PERIODS: dict[str, Callable[[Rule, date, date], Iterator[Sequence[Span]]]] = {
    "DAILY": _months,
    "WEEKLY": _weeks,
    "MONTHLY": _months,
    "YEARLY": _years,
}
"""Generators of the spans of successive periods, by FREQ.

They start at the period of `after`, computed by division, and do not iterate from `due`.
"""
