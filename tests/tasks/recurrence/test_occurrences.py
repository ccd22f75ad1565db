"""The next due date of a recurring task, compared with RFC 5545 and dateutil, and the limits of the search."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from taskapi.http.fields.strict import violations
from taskapi.http.fields.time import LAST_DAY
from taskapi.tasks.recurrence import masks, occurrences
from taskapi.tasks.recurrence.occurrences import MAX_PERIODS, next_date, search_budget
from taskapi.tasks.recurrence.rrule import WEEKDAYS, Rule, normalize

MAX_SPANS = 1200
"""Documented maximum number of spans (months, weeks or years) that one search examines."""


def day(text: str) -> date:
    """Parse an ISO date."""
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
            # The rules that the page chooses for the 29th, 30th and 31st, and for February 29.
            (
                "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
                "2027-12-31",
                ["2028-01-31", "2028-02-29", "2028-03-31"],
            ),
            ("FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", "2026-12-30", ["2027-01-30", "2027-02-28", "2027-03-30"]),
            ("FREQ=MONTHLY;BYMONTHDAY=28,29;BYSETPOS=-1", "2028-01-29", ["2028-02-29", "2028-03-29"]),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1", "2027-02-28", ["2028-02-29", "2029-02-28"]),
            # The second, and the last but one, working day of a month; the first and third Monday of a year.
            ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2", "2026-11-03", ["2026-12-02", "2027-01-04"]),
            ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2,-1", "2026-11-27", ["2026-11-30", "2026-12-30"]),
            ("FREQ=YEARLY;BYDAY=MO;BYSETPOS=3,1", "2026-12-30", ["2027-01-04", "2027-01-18", "2028-01-03"]),
            ("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366", "2026-12-30", ["2028-12-31", "2032-12-31"]),
            ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=5", "2026-11-30", ["2027-03-29", "2027-05-31"]),
            ("FREQ=DAILY;BYDAY=MO;BYSETPOS=1", "2026-11-30", ["2026-12-07"]),
            # RFC 5545's examples of WKST: the same rule with weeks that begin on Monday and on Sunday.
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05", ["1997-08-10", "1997-08-19", "1997-08-24"]),
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05", ["1997-08-17", "1997-08-19", "1997-08-31"]),
            ("FREQ=WEEKLY;BYDAY=SU,MO;BYSETPOS=1;WKST=MO", "2026-11-23", ["2026-11-30", "2026-12-07"]),
            ("FREQ=WEEKLY;BYDAY=SU,MO;BYSETPOS=1;WKST=SU", "2026-11-22", ["2026-11-29", "2026-12-06"]),
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

    UNTIL: tuple[tuple[str, str | None, str | None, str], ...] = (
        # A date allows any time of that day.
        ("20270101", None, None, "2027-01-01"),
        ("20270101", "23:59", "Pacific/Pago_Pago", "2027-01-01"),
        # The end of December 31 in the zone of the task, in UTC as calendars write it.
        ("20261231T105959Z", None, "Pacific/Auckland", "2026-12-31"),
        ("20270101T075959Z", None, "America/Los_Angeles", "2026-12-31"),
        ("20270101T075959Z", "23:59", "America/Los_Angeles", "2026-12-31"),
        # The instant of the last task, and a second before it.
        ("20261231T083000Z", "09:30", "Europe/Berlin", "2026-12-31"),
        ("20261231T082959Z", "09:30", "Europe/Berlin", "2026-12-30"),
        ("20261231T093000", "09:30", "Europe/Berlin", "2026-12-31"),
        ("20261231T092959", "09:30", "Europe/Berlin", "2026-12-30"),
        ("20261231T092959", "09:30", None, "2026-12-30"),
        ("20261231T093000Z", "09:30", None, "2026-12-31"),
        ("20261231T000000", None, None, "2026-12-31"),
        # The day itself, which some calendars write for an event without a time.
        ("20261231T000000Z", None, "America/Los_Angeles", "2026-12-31"),
        ("20261231T235959Z", None, "Pacific/Auckland", "2026-12-31"),
        # 02:30 occurs twice on October 25, and is due at the first; it does not exist on March 28: 03:30.
        ("20261025T010000Z", "02:30", "Europe/Berlin", "2026-10-25"),
        ("20261025T002959Z", "02:30", "Europe/Berlin", "2026-10-24"),
        ("20270328T013000Z", "02:30", "Europe/Berlin", "2027-03-28"),
        ("20270328T012959Z", "02:30", "Europe/Berlin", "2027-03-27"),
        ("99991231T235959Z", "00:00", "Pacific/Kiritimati", "2999-12-31"),
        ("00010101T000000Z", "00:00", "Pacific/Pago_Pago", "0001-01-01"),
    )

    def test_until_is_the_last_day_on_which_the_task_is_due_at_its_time_in_its_zone(self) -> None:
        for until, clock, zone, expected in self.UNTIL:
            rule = normalize(f"FREQ=DAILY;UNTIL={until}")
            last, first = day(expected), max(day(expected), FIRST + timedelta(days=5)) - timedelta(days=4)
            dates = [first]
            while following := next_date(rule, dates[-1], dates[-1], clock=clock, zone=zone):
                dates.append(following)
                if len(dates) > 9:
                    break
            assert dates[1:] == ([first + timedelta(days=n) for n in range(1, 5)] if last > FIRST else []), until

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
    "BYSETPOS": st.sampled_from([-1, 1, 2, -2]) | st.integers(1, 366) | st.integers(-366, -1),
}


def comma_separated(items: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Return a strategy of comma-separated lists of 1 to 4 different items."""
    return st.lists(items, min_size=1, max_size=4, unique=True).map(lambda values: ",".join(map(str, values)))


@st.composite
def rules(draw: st.DrawFn, *, ending: bool = True) -> str:
    """Generate allowed rules, some of them without any matching day.

    Either all weekdays have an ordinal or none: for a mixture RFC 5545 has a union, dateutil an intersection. A weekly
    rule with BYSETPOS has weekdays: `by_dateutil` lets it begin on another day.
    """
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 7) | st.sampled_from([11, 12, 25, 52, 100, 400, 999]))}")
    by_month = draw(st.booleans())
    positions = draw(st.none() | comma_separated(NUMBERS["BYSETPOS"]))
    if draw(st.booleans()) or (positions and frequency == "WEEKLY"):
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
    if positions and any(part.startswith("BY") for part in parts):
        parts.append(f"BYSETPOS={positions}")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(WEEKDAYS))}")
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
        if "WEEKLY" in rule and "BYSETPOS" in rule:
            # dateutil leaves the days before its start out of the set of the first week; RFC 5545 counts them.
            due -= timedelta(days=(due.weekday() - Rule.parse(rule).week_start) % 7)
        start = datetime(due.year, due.month, due.day)  # noqa: DTZ001  dateutil needs naive datetimes
        result = rrulestr(rule, dtstart=start).after(datetime(after.year, after.month, after.day))  # noqa: DTZ001
    return result.date() if result else None


@given(rules(), dues, st.integers(0, 2000))
@example("FREQ=YEARLY;BYDAY=53MO", date(2024, 12, 30), 0)
@example("FREQ=WEEKLY;BYDAY=MO,SU;BYMONTH=2;BYSETPOS=-1", date(2026, 1, 27), 0)
@example("FREQ=WEEKLY;BYMONTH=1;BYDAY=MO,TU,SA,SU", date(2026, 12, 20), 0)
@example("FREQ=DAILY;INTERVAL=999;BYSETPOS=-1;BYMONTH=2", date(2024, 2, 29), 1)
@example("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,TH;WKST=SU;BYSETPOS=1", date(2026, 11, 21), 0)
@example("FREQ=YEARLY;BYMONTH=2,3;BYMONTHDAY=28,29,1;BYSETPOS=2,-1", date(2026, 3, 1), 0)
@example("FREQ=MONTHLY;BYDAY=1MO,-1FR;BYSETPOS=-2", date(2026, 11, 30), 0)
@example("FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", date(2026, 1, 31), 0)
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
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


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001  local times
    st.sampled_from(
        ["Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland", "Pacific/Pago_Pago", "Asia/Kathmandu"]
    ),
    st.integers(0, 10 * 24 * 60 * 60),
)
@settings(max_examples=200)
def test_dateutil_ends_at_the_same_until(start: datetime, zone: str, seconds: int) -> None:
    start = start.replace(second=0, microsecond=0, tzinfo=ZoneInfo(zone))
    until = start.astimezone(UTC) + timedelta(seconds=seconds)
    rule = f"FREQ=DAILY;UNTIL={until:%Y%m%dT%H%M%S}Z"
    expected = list(rrulestr(rule, dtstart=start))
    dates, current = [start.date()], start.date()
    while following := next_date(rule, current, current, clock=f"{start:%H:%M}", zone=zone):
        dates.append(current := following)
    assert dates == [each.date() for each in expected]


EXPENSIVE_RULES = [
    "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA;BYSETPOS=" + ",".join(map(str, range(325, 362))),
    "FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;BYMONTHDAY=-1;BYSETPOS=13,-13",
    "FREQ=YEARLY;BYDAY=53MO,53TU;BYMONTHDAY=15;BYSETPOS=1,-1",
    "FREQ=MONTHLY;BYMONTHDAY=31;BYSETPOS=2," + ",".join(map(str, range(3, 40))),
    "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA;WKST=WE;BYSETPOS=7," + ",".join(map(str, range(8, 40))),
    "FREQ=DAILY;BYDAY=MO;BYSETPOS=2,-366",
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
    @settings(max_examples=200)
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

    @given(rules(ending=False).filter(lambda rule: "BYSETPOS" in rule), dues, st.integers(0, 400_000))
    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    def test_a_search_with_positions_lists_the_days_of_two_years_at_most(
        self, rule: str, due: date, later: int
    ) -> None:
        """A day at a position ends the search, unless it is before `after`, in the first period."""
        listed = 0

        def count(mask: int) -> Iterator[int]:
            nonlocal listed
            for bit in masks.set_bits(mask):
                listed += 1
                yield bit

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(occurrences, "set_bits", count)
            next_date(rule, due, min(due + timedelta(days=later), LAST_DAY))
        assert listed <= 2 * 366

    def test_a_mask_is_computed_once_per_first_weekday_and_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        computed: list[Any] = []
        monkeypatch.setattr(
            occurrences, "matching_days", lambda *kind: computed.append(kind[1:]) or masks.matching_days(*kind)
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
