"""The next due date of a recurring task, compared with RFC 5545 and dateutil, and the limits of the search."""

from __future__ import annotations

import datetime as dt
import time
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from taskapi.http.fields.strict import violations
from taskapi.http.fields.time import LAST_DAY
from taskapi.tasks.recurrence import occurrences
from taskapi.tasks.recurrence.occurrences import MAX_PERIODS, next_date, search_budget
from taskapi.tasks.recurrence.rrule import WEEKDAYS, normalize

MAX_SPANS = 1200
"""Documented maximum number of spans (months, weeks or years) that one search examines."""


def day(text: str) -> date:
    return date.fromisoformat(text)


def next_dates(rule: str, due: str, times: int) -> list[str]:
    """Return up to `times` next due dates, each computed from the previous one, as completing a task does."""
    dates, current = [], day(due)
    for occurrence in range(1, times + 1):
        after = next_date(normalize(rule), current, current, occurrence=occurrence)
        if after is None:
            break
        dates.append(after.isoformat())
        current = after
    return dates


class TestNextDate:
    @pytest.mark.parametrize(
        ("rule", "due", "dates"),
        [
            ("FREQ=DAILY", "2026-12-30", ["2026-12-31", "2027-01-01", "2027-01-02"]),
            ("FREQ=DAILY;INTERVAL=10", "2026-12-30", ["2027-01-09", "2027-01-19", "2027-01-29"]),
            ("FREQ=WEEKLY", "2026-12-30", ["2027-01-06", "2027-01-13", "2027-01-20"]),
            ("FREQ=WEEKLY;BYDAY=MO,TH", "2026-11-19", ["2026-11-23", "2026-11-26", "2026-11-30"]),
            # Weeks start on Monday, so a Sunday is in the week of the Thursday before it.
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TH,SU", "2026-11-19", ["2026-11-22", "2026-12-03", "2026-12-06"]),
            ("FREQ=MONTHLY", "2026-01-31", ["2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31"]),
            ("FREQ=MONTHLY", "2026-01-30", ["2026-03-30", "2026-04-30", "2026-05-30"]),
            ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
            ("FREQ=MONTHLY;BYMONTHDAY=-1", "2028-01-31", ["2028-02-29", "2028-03-31", "2028-04-30"]),
            ("FREQ=MONTHLY;BYMONTHDAY=31,-1", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
            ("FREQ=MONTHLY;INTERVAL=13", "2026-01-31", ["2028-03-31", "2030-05-31", "2032-07-31"]),
            ("FREQ=MONTHLY;BYDAY=1MO,-1FR", "2026-11-02", ["2026-11-27", "2026-12-07", "2026-12-25"]),
            ("FREQ=MONTHLY;BYDAY=5MO", "2026-11-30", ["2027-03-29", "2027-05-31"]),
            ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-11-13", ["2027-08-13", "2028-10-13"]),
            ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-11-30", ["2026-12-31", "2027-01-29"]),
            ("FREQ=MONTHLY;BYDAY=MO,1TU", "2026-12-01", ["2026-12-07", "2026-12-14", "2026-12-21", "2026-12-28"]),
            ("FREQ=YEARLY", "2026-11-21", ["2027-11-21", "2028-11-21"]),
            ("FREQ=YEARLY", "2024-02-29", ["2028-02-29", "2032-02-29"]),
            ("FREQ=YEARLY", "2096-02-29", ["2104-02-29"]),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", "2026-02-28", ["2027-02-28", "2028-02-29", "2029-02-28"]),
            ("FREQ=YEARLY;BYDAY=-1MO", "2026-12-28", ["2027-12-27", "2028-12-25"]),
            ("FREQ=YEARLY;BYDAY=53TH", "2026-12-31", ["2032-12-30", "2037-12-31"]),
            ("FREQ=YEARLY;BYMONTH=3,10;BYDAY=-1SU", "2026-10-25", ["2027-03-28", "2027-10-31"]),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2044-02-29", ["2072-02-29", "2112-02-29"]),
            ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2072-03-01", ["2112-02-29"]),
            ("FREQ=DAILY;BYMONTH=12;BYMONTHDAY=24,25", "2026-12-24", ["2026-12-25", "2027-12-24"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_next_dates_follow_rfc_5545_without_drift(self, rule: str, due: str, dates: list[str]) -> None:
        assert next_dates(rule, due, len(dates)) == dates

    def test_count_includes_the_first_date(self) -> None:
        assert next_dates("FREQ=DAILY;COUNT=3", "2026-12-30", 9) == ["2026-12-31", "2027-01-01"]
        assert next_dates("FREQ=DAILY;COUNT=1", "2026-12-30", 9) == []

    def test_until_is_inclusive(self) -> None:
        assert next_dates("FREQ=DAILY;UNTIL=20270101", "2026-12-30", 9) == ["2026-12-31", "2027-01-01"]
        assert next_dates("FREQ=DAILY;UNTIL=20261230", "2026-12-30", 9) == []
        assert next_dates("FREQ=WEEKLY;UNTIL=20260101", "2026-12-30", 9) == []

    def test_a_rule_without_count_and_until_never_ends(self) -> None:
        assert next_date("FREQ=DAILY", day("2026-12-30"), day("2026-12-30"), occurrence=5000) == day("2026-12-31")

    @pytest.mark.parametrize("rule", ["FREQ=DAILY", "FREQ=DAILY;UNTIL=99991231"], ids=["without", "with"])
    def test_no_date_is_after_the_last_allowed_due_date(self, rule: str) -> None:
        assert next_date(rule, LAST_DAY - timedelta(days=1), FIRST) == LAST_DAY
        assert next_date(rule, LAST_DAY, FIRST) is None

    def test_the_next_date_of_a_task_years_overdue_keeps_the_interval(self) -> None:
        due, today = day("1900-01-01"), day("2026-11-20")
        assert next_date("FREQ=DAILY;INTERVAL=2", due, today) == day("2026-11-22")
        assert next_date("FREQ=WEEKLY;INTERVAL=3", due, today) == day("2026-11-23")
        assert next_date("FREQ=MONTHLY;INTERVAL=5", due, today) == day("2027-02-01")
        assert next_date("FREQ=YEARLY;INTERVAL=4", due, today) == day("2028-01-01")

    def test_an_early_completion_does_not_repeat_the_due_date(self) -> None:
        assert next_date("FREQ=WEEKLY", day("2026-12-30"), day("2026-11-01")) == day("2027-01-06")


FIRST = date(1900, 1, 1)

NUMBERS = {
    "BYMONTH": st.integers(1, 12),
    "BYMONTHDAY": st.integers(1, 31) | st.integers(-31, -1),
}


def comma_separated(items: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=4, unique=True).map(lambda values: ",".join(map(str, values)))


@st.composite
def rules(draw: st.DrawFn, *, ending: bool = True) -> str:
    """Generate allowed rules, some of them without any matching day.

    Either all weekdays have an ordinal or none: for a mixture RFC 5545 has a union, dateutil an intersection.
    """
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 7) | st.sampled_from([11, 12, 25, 52, 100, 400, 999]))}")
    by_month = draw(st.booleans())
    if draw(st.booleans()):
        weekdays = st.sampled_from(WEEKDAYS)
        if frequency in ("MONTHLY", "YEARLY") and draw(st.booleans()):
            max_ordinal = 53 if frequency == "YEARLY" and not by_month else 5
            ordinals = st.integers(1, max_ordinal) | st.integers(-max_ordinal, -1)
            weekdays = st.builds("{}{}".format, ordinals, weekdays)
        parts.append(f"BYDAY={draw(comma_separated(weekdays))}")
    if frequency != "WEEKLY" and draw(st.booleans()):
        parts.append(f"BYMONTHDAY={draw(comma_separated(NUMBERS['BYMONTHDAY']))}")
    if by_month:
        parts.append(f"BYMONTH={draw(comma_separated(NUMBERS['BYMONTH']))}")
    if any(part.startswith("BY") for part in parts) and draw(st.booleans()):
        parts.append("BYSETPOS=-1")
    if ending and draw(st.booleans()):
        parts.append(f"UNTIL={draw(st.dates(date(2026, 1, 1), date(2040, 1, 1))):%Y%m%d}")
    return normalize(";".join(parts))


dues = st.dates(date(1990, 1, 1), date(2110, 12, 31)) | st.sampled_from(
    [date(2024, 2, 29), date(2026, 1, 31), date(2026, 12, 31), date(2096, 2, 29), date(2027, 1, 3)]
)


def by_dateutil(rule: str, due: date, after: date, years: int) -> date | None:
    """Return dateutil's first date after `after` within `years`, by a patched MAXYEAR: it searches up to year 9999."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dt, "MAXYEAR", after.year + years)
        start = datetime(due.year, due.month, due.day)  # noqa: DTZ001  dateutil needs naive datetimes
        result = rrulestr(rule, dtstart=start).after(datetime(after.year, after.month, after.day))  # noqa: DTZ001
    return result.date() if result else None


@given(rules(), dues, st.integers(0, 2000))
@example("FREQ=YEARLY;BYDAY=53MO", date(2024, 12, 30), 0)
@example("FREQ=WEEKLY;BYDAY=MO,SU;BYMONTH=2;BYSETPOS=-1", date(2026, 1, 27), 0)
@example("FREQ=WEEKLY;BYMONTH=1;BYDAY=MO,TU,SA,SU", date(2026, 12, 20), 0)
@example("FREQ=DAILY;INTERVAL=999;BYSETPOS=-1;BYMONTH=2", date(2024, 2, 29), 1)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_dateutil_gives_the_same_dates(rule: str, due: date, later: int) -> None:
    after = due + timedelta(days=later)
    # Less than the number of years that our search examines, for any interval.
    years = 10 if "WEEKLY" in rule else 40
    expected = by_dateutil(rule, due, after, years)
    result = next_date(rule, due, after)
    if expected is None:
        assert result is None or result.year > after.year + years
    else:
        assert result == expected


EXPENSIVE_RULES = [
    "FREQ=DAILY;INTERVAL=7;BYDAY=MO,WE,TH,FR,SA,SU;BYMONTHDAY=" + ",".join(map(str, [*range(1, 32), *range(-10, 0)])),
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=DAILY;INTERVAL=7;BYDAY=MO",
    "FREQ=DAILY;INTERVAL=999;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=MONTHLY;BYDAY=5MO,5TU,5WE,5TH,5FR;BYMONTHDAY=2,3,4,5,6,7",
    "FREQ=MONTHLY;INTERVAL=12;BYMONTH=7",
    "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30,31",
    "FREQ=YEARLY;BYDAY=53MO,53TU,53WE;BYMONTHDAY=15",
    "FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;BYDAY=5MO;BYMONTHDAY=2,3,4",
    "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=YEARLY;INTERVAL=999;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;UNTIL=99991231",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=999",
]


class TestSearchLimits:
    """Limits in examined spans, not in seconds, so that the tests do not depend on the machine."""

    @pytest.mark.parametrize("rule", EXPENSIVE_RULES)
    @pytest.mark.parametrize("due", ["1901-01-01", "2027-03-02", "2999-12-31"])
    def test_a_search_without_a_matching_day_examines_a_limited_number_of_spans(self, rule: str, due: str) -> None:
        with search_budget(MAX_SPANS) as budget:
            assert next_date(normalize(rule), day(due), day(due)) is None
        assert budget.spent <= MAX_SPANS

    @given(rules(ending=False), dues, st.integers(0, 400_000))
    @settings(max_examples=200, deadline=None)
    def test_no_search_examines_more_spans_than_the_limit(self, rule: str, due: date, later: int) -> None:
        after = min(due + timedelta(days=later), LAST_DAY)
        with search_budget(MAX_SPANS):
            next_date(rule, due, after)

    def test_max_periods_are_within_the_documented_limit(self) -> None:
        assert max(MAX_PERIODS["DAILY"], MAX_PERIODS["WEEKLY"], MAX_PERIODS["MONTHLY"]) <= MAX_SPANS
        assert MAX_PERIODS["YEARLY"] * 12 <= MAX_SPANS

    def test_a_search_a_thousand_years_later_starts_at_the_period_of_after(self) -> None:
        with search_budget(8):
            for rule in ("FREQ=DAILY", "FREQ=WEEKLY", "FREQ=MONTHLY", "FREQ=YEARLY"):
                assert next_date(rule, FIRST, day("2998-12-30"))

    def test_all_searches_in_a_search_budget_block_share_it(self) -> None:
        with search_budget(5) as budget:
            for _ in range(5):
                next_date("FREQ=DAILY", FIRST, FIRST)
            assert budget.spent == 5
            with pytest.raises(ValidationError) as refused:
                next_date("FREQ=DAILY", FIRST, FIRST)
        (fault,) = violations(refused.value)
        assert fault["code"] == "recurrence"
        assert next_date("FREQ=DAILY", FIRST, FIRST), "no budget after the block"

    def test_a_mask_is_computed_once_per_first_weekday_and_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        computed: list[Any] = []
        matching_days = occurrences._matching_days
        monkeypatch.setattr(
            occurrences, "_matching_days", lambda *kind: computed.append(kind[1:]) or matching_days(*kind)
        )
        for rule in map(normalize, EXPENSIVE_RULES):
            computed.clear()
            next_date(rule, day("1901-01-01"), day("1901-01-01"))
            assert len(computed) == len(set(computed)) <= 28, "7 first weekdays, 4 lengths of a month"

    def test_the_longest_search_is_measured(self, capsys: pytest.CaptureFixture[str]) -> None:
        measured = []
        for rule in map(normalize, EXPENSIVE_RULES):
            start_time = time.process_time()
            next_date(rule, day("1901-01-01"), day("1901-01-01"))
            measured.append((time.process_time() - start_time, rule))
        with capsys.disabled():
            print(f"\nlongest search: {max(measured)[0] * 1000:.1f} ms, {max(measured)[1]}")
