"""The days of a span (a week, a month or a year) that match the parts of a recurrence rule, as bits of an integer.

Bit 0 is the first day of the span. Each part of a rule is a mask; the intersection of the masks gives the matching
days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import reduce
from operator import or_

from .rrule import Rule

MONTH_LENGTHS = {
    365: (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    366: (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
}
"""The lengths of the 12 months in days, by the length of the year."""

LONGEST_MONTH = 31
"""Days."""


def matching_days(rule: Rule, first_weekday: int, length: int) -> int:
    """Return the mask of the days of a span that match BYDAY and BYMONTHDAY; all days if the rule has neither.

    `first_weekday` is the weekday of the span's first day (0 is Monday), `length` its number of days.
    """
    days: int = (1 << length) - 1
    if rule.weekdays:
        days &= reduce(or_, (_on_weekday(day, ordinal, first_weekday, length) for day, ordinal in rule.weekdays))
    if rule.month_days:
        days &= _on_month_days(rule.month_days, length)
    return days


def _on_weekday(weekday: int, ordinal: int, first_weekday: int, length: int) -> int:
    """Return the mask of the days of a span that fall on `weekday` (0 is Monday, as is `first_weekday`).

    `ordinal` 0 selects all of them, 2 only the second one, -1 only the last one. The mask is 0 if the span has no such
    day.
    """
    first = (weekday - first_weekday) % 7
    if ordinal == 0:
        return every(7, first, length)
    number = ordinal - 1 if ordinal > 0 else (length - first + 6) // 7 + ordinal
    day = first + 7 * number
    return 1 << day if number >= 0 and day < length else 0


def _on_month_days(numbers: frozenset[int], length: int) -> int:
    """Return the mask of these days of the month (-1 is the last), without those that a month does not have.

    `length` is the number of days of the span: a month, or a year (365, 366), of which each month is searched.
    """
    days = start = 0
    for month in [length] if length <= LONGEST_MONTH else MONTH_LENGTHS[length]:
        for number in numbers:
            day = number - 1 if number > 0 else month + number
            if 0 <= day < month:
                days |= 1 << start + day
        start += month
    return days


def set_bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set in the mask, from the lowest; 0 is the first day of a span."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def days_in_months(months: frozenset[int], start: int) -> int:
    """Return the mask of the days of a week that are in `months`; `start` is the ordinal of the week's first day."""
    first, last = date.fromordinal(start), date.fromordinal(start + 6)
    days = 0b111_1111 if first.month in months else 0
    if first.month != last.month:
        before = (1 << 7 - last.day) - 1  # the days in the earlier month
        days = (days & before) | (before ^ 0b111_1111 if last.month in months else 0)
    return days


def every(interval: int, first: int, length: int) -> int:
    """Return the mask of every `interval`-th day of a span of `length` days, starting with day `first` (0-based)."""
    return sum(1 << day for day in range(first, length, interval))
