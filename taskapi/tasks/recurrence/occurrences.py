"""Find the next due date of a recurring task, in a bounded number of steps for any rule.

A rule is evaluated span by span (a week, a month or a year): masks.py computes the matching days of a span as bits.
They depend only on the length of the span and on its first weekday, so each mask is computed once per search.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date

from marshmallow import ValidationError

from ...http.fields.strict import Violation, refuse
from ...http.fields.time import LAST_DAY
from .masks import LONGEST_MONTH, MONTH_LENGTHS, days_in_months, every, matching_days, set_bits
from .rrule import Rule

MAX_PERIODS = {"DAILY": 1200, "WEEKLY": 600, "MONTHLY": 600, "YEARLY": 50}
"""Maximum number of periods that one search examines, by FREQ; for DAILY a period is a month.

The rarest date, a leap day on a given weekday, recurs within 40 years.
"""

Span = tuple[int, int]
"""The ordinal of the first day (`date.toordinal`), and the length in days."""


@dataclass
class SearchBudget:
    """Maximum number of spans that all searches of one request may examine together; `spent` is the number so far."""

    limit: int
    spent: int = 0

    def spend(self, spans: int) -> None:
        """Add examined spans to `spent`. Raises ValidationError when that exceeds `limit`."""
        self.spent += spans
        if self.spent > self.limit:
            raise refuse("recurrence", "The rules of this request take too long to evaluate: send fewer at a time.")


_budget: ContextVar[SearchBudget | None] = ContextVar("taskapi_search_budget", default=None)
"""The budget of the current request; None: no limit."""


@contextmanager
def search_budget(limit: int) -> Iterator[SearchBudget]:
    """Limit all searches inside the `with` block to `limit` examined spans together; yield the budget.

    A search that exceeds it raises ValidationError. Without a block, searches are limited by `MAX_PERIODS` only.
    """
    budget = SearchBudget(limit)
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


def check_recurs(rule: str, due: date) -> None:
    """Raise ValidationError if a rule without COUNT and UNTIL has no date after `due`, such as February 30.

    A rule with COUNT or UNTIL passes without a search: it may have ended. The search ends after `MAX_PERIODS`. Also
    raises ValidationError if the `search_budget` is exceeded.
    """
    ends = "COUNT" in rule or "UNTIL" in rule
    if not ends and next_date(rule, due, due) is None:
        raise ValidationError({"recurrence": [Violation("recurrence", "Never comes again, or not for decades.")]})


def next_date(
    rule: str, due: date, after: date, *, occurrence: int = 1, clock: str | None = None, zone: str | None = None
) -> date | None:
    """Return the first date of the rule that is later than `due` and `after`; None if the series has ended.

    Also None if the search finds no date in `MAX_PERIODS`. INTERVAL counts from `due`, the date of number `occurrence`
    (from 1, compared with COUNT) in its series. `clock` (`HH:MM`) and `zone` (IANA name) of the task are compared with
    UNTIL. Raises ValidationError if the `search_budget` is exceeded.
    """
    parsed = Rule.parse(rule, clock, zone)
    if parsed.count is not None and occurrence >= parsed.count:
        return None
    if parsed.frequency == "DAILY" and parsed.positions and parsed.positions.isdisjoint({1, -1}):
        return None  # the set of a day has one date
    search = _Search(_with_defaults(parsed, due), due)
    day = search.first_after(max(due, after))
    return day if day is not None and day <= parsed.until else None


def _with_defaults(rule: Rule, due: date) -> Rule:
    """Return the rule with missing weekdays, month days and months taken from the due date (RFC 5545, 3.3.10).

    A month without that day is skipped: a monthly rule from January 31 has no date in February. BYSETPOS is removed
    from a daily rule: it is 1 or -1 here (`next_date`), which both mean the day itself.
    """
    if rule.frequency == "DAILY":
        return replace(rule, positions=frozenset())
    if rule.frequency == "WEEKLY" and not rule.weekdays:
        return replace(rule, weekdays=frozenset({(due.weekday(), 0)}))
    if rule.frequency in ("MONTHLY", "YEARLY") and not rule.weekdays and not rule.month_days:
        months = rule.months or (frozenset({due.month}) if rule.frequency == "YEARLY" else rule.months)
        return replace(rule, months=months, month_days=frozenset({due.day}))
    return rule


class _Search:
    """A search for the next date of a rule that `_with_defaults` has returned; caches the masks of its spans."""

    def __init__(self, rule: Rule, due: date) -> None:
        self._rule, self._due, self._due_ordinal = rule, due, due.toordinal()
        self._masks: dict[Span, int] = {}
        self._interval_mask = every(rule.interval, 0, LONGEST_MONTH)
        self._least_position = min(map(abs, rule.positions), default=0)

    def first_after(self, after: date) -> date | None:
        """Return the rule's first date after `after`, which must not be before the due date; None if it finds none.

        Ends at the first period that begins after UNTIL, and after `MAX_PERIODS`. The date may be after UNTIL, within
        the period of UNTIL: the caller compares. Raises ValidationError if the `search_budget` is exceeded.
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
        """Return the ordinal of the first matching day of a period that is not before `earliest`; None without one.

        `earliest` is an ordinal (`date.toordinal`). With BYSETPOS only the days at its positions match.
        """
        if self._rule.positions:
            return self._first_at_position(spans, earliest)
        for start, days in self._matching(spans):
            skipped = max(0, earliest - start)
            remaining = days >> skipped
            if remaining:
                return start + skipped + (remaining & -remaining).bit_length() - 1  # the lowest bit that is set
        return None

    def _first_at_position(self, spans: Iterable[Span], earliest: int) -> int | None:
        """Return the ordinal of the first day at a position of BYSETPOS, not before `earliest`; None without one.

        The positions count the matching days of all `spans` of the period together, from 1, or from -1 backward. If
        there are fewer days than the lowest position it returns before it lists them.
        """
        matching, number = [*self._matching(spans)], 0
        for _, days in matching:
            number += days.bit_count()
        if number < self._least_position:
            return None
        listed = [start + day for start, days in matching for day in set_bits(days)]
        positions = (position for position in self._rule.positions if abs(position) <= number)
        selected = (listed[position - 1 if position > 0 else position] for position in positions)
        return min((day for day in selected if day >= earliest), default=None)

    def _matching(self, spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
        """Yield (ordinal of the first day, mask of the matching days) of each span that has a matching day.

        Compares BYDAY, BYMONTHDAY, the INTERVAL of a daily rule, and the BYMONTH of a weekly one; `_months` and
        `_years` yield only months of BYMONTH. Caches the masks of BYDAY and BYMONTHDAY.
        """
        rule = self._rule
        for start, length in spans:
            key = ((start - 1) % 7, length)
            days = self._masks.get(key)
            if days is None:
                days = self._masks[key] = matching_days(rule, *key)
            if days and rule.frequency == "DAILY":
                days &= self._interval_mask << (self._due_ordinal - start) % rule.interval
            elif days and rule.frequency == "WEEKLY" and rule.months:
                days &= days_in_months(rule.months, start)
            if days:
                yield start, days


def _weeks(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    """Yield every INTERVAL-th week, counted from that of `due`, each as a list of one span.

    Weeks begin on the day of WKST. The first is the week of `after`, or the last counted one before it; the number of
    weeks is `MAX_PERIODS`, also after `LAST_DAY`.
    """
    start = due.toordinal() - (due.weekday() - rule.week_start) % 7
    first = max(0, (after.toordinal() - start) // 7 // rule.interval)
    for step in range(first, first + MAX_PERIODS["WEEKLY"]):
        yield [(start + 7 * rule.interval * step, 7)]


def _months(rule: Rule, due: date, after: date) -> Iterator[Sequence[Span]]:
    """Yield every INTERVAL-th month that BYMONTH allows, counted from that of `due`, each as a list of one span.

    For a DAILY rule, every month. The first is the month of `after`, or the last counted one before it. Ends with the
    year of `LAST_DAY`, and after `MAX_PERIODS` months, those that BYMONTH excludes included.
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
    """Yield every INTERVAL-th year, counted from that of `due`, as a list: one span, or a span per month of BYMONTH.

    The first is the year of `after`, or the last counted one before it. Ends with the year of `LAST_DAY`, and after
    `MAX_PERIODS` years.
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
    """Return the span of a month (1 to 12): (ordinal of its first day, its number of days)."""
    return date(year, month, 1).toordinal(), MONTH_LENGTHS[365 + isleap(year)][month - 1]


_PERIODS: dict[str, Callable[[Rule, date, date], Iterator[Sequence[Span]]]] = {
    "DAILY": _months,
    "WEEKLY": _weeks,
    "MONTHLY": _months,
    "YEARLY": _years,
}
"""Generators of the spans of successive periods, by FREQ.

They start at the period of `after`, computed by division, and do not iterate from `due`.
"""
