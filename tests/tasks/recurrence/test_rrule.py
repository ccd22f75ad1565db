"""Recurrence rules: valid ones are normalized, invalid ones refused with the name of the part."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from taskapi.http.fields.strict import violations
from taskapi.tasks.recurrence import schedule
from taskapi.tasks.recurrence.rrule import MAX_RULE, normalize
from taskapi.tasks.schemas import task_in
from tests.conftest import Person


def day(text: str) -> date:
    """Parse an ISO date."""
    return date.fromisoformat(text)


VALID_RULES = {
    "daily": ("FREQ=DAILY", "FREQ=DAILY"),
    "weekly": ("FREQ=WEEKLY", "FREQ=WEEKLY"),
    "monthly": ("FREQ=MONTHLY", "FREQ=MONTHLY"),
    "yearly": ("FREQ=YEARLY", "FREQ=YEARLY"),
    "least interval": ("FREQ=DAILY;INTERVAL=1", "FREQ=DAILY;INTERVAL=1"),
    "longest interval": ("FREQ=DAILY;INTERVAL=999", "FREQ=DAILY;INTERVAL=999"),
    "weekdays": ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
    "numbered weekdays": ("FREQ=MONTHLY;BYDAY=1MO,-1FR", "FREQ=MONTHLY;BYDAY=1MO,-1FR"),
    "53rd weekday of a year": ("FREQ=YEARLY;BYDAY=53MO", "FREQ=YEARLY;BYDAY=53MO"),
    "days of the month": ("FREQ=MONTHLY;BYMONTHDAY=1,15,-1", "FREQ=MONTHLY;BYMONTHDAY=1,15,-1"),
    "months": ("FREQ=YEARLY;BYMONTH=1,12", "FREQ=YEARLY;BYMONTH=1,12"),
    "the last one": ("FREQ=MONTHLY;BYDAY=MO,FR;BYSETPOS=-1", "FREQ=MONTHLY;BYDAY=MO,FR;BYSETPOS=-1"),
    "until": ("FREQ=DAILY;UNTIL=20301231", "FREQ=DAILY;UNTIL=20301231"),
    "count": ("FREQ=DAILY;COUNT=999", "FREQ=DAILY;COUNT=999"),
    "lower case": ("freq=weekly;byday=mo", "FREQ=WEEKLY;BYDAY=MO"),
    "with RRULE:": ("RRULE:FREQ=DAILY", "FREQ=DAILY"),
    "with rrule: in lower case": ("rrule:freq=daily", "FREQ=DAILY"),
    "a position": ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1"),
    "positions": ("FREQ=YEARLY;BYDAY=MO,FR;BYSETPOS=366,-366,2", "FREQ=YEARLY;BYDAY=MO,FR;BYSETPOS=366,-366,2"),
    "the last day of every month": (
        "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
        "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
    ),
    "the last day of February": (
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1",
        "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1",
    ),
    "the start of the week": ("FREQ=WEEKLY;WKST=SU;INTERVAL=2", "FREQ=WEEKLY;INTERVAL=2;WKST=SU"),
    "until a time in UTC": ("FREQ=DAILY;UNTIL=20301231T225959Z", "FREQ=DAILY;UNTIL=20301231T225959Z"),
    "until a local time": ("FREQ=DAILY;UNTIL=20301231T235959", "FREQ=DAILY;UNTIL=20301231T235959"),
    "until in lower case": ("freq=daily;until=20301231t225959z", "FREQ=DAILY;UNTIL=20301231T225959Z"),
    "spaces": (" RRULE : FREQ = WEEKLY ; BYDAY = MO , TU ;\tCOUNT=3 ", "FREQ=WEEKLY;BYDAY=MO,TU;COUNT=3"),
    "a semicolon at the end": ("FREQ=DAILY;", "FREQ=DAILY"),
    "plus signs": ("FREQ=MONTHLY;BYDAY=+1MO,-1FR;BYSETPOS=+1", "FREQ=MONTHLY;BYDAY=1MO,-1FR;BYSETPOS=1"),
    "leading zeros": ("FREQ=MONTHLY;INTERVAL=01;BYMONTHDAY=05,-01", "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=5,-1"),
    "as Google Calendar writes": (
        "RRULE:FREQ=WEEKLY;WKST=SU;UNTIL=20261231T225959Z;INTERVAL=2;BYDAY=TH",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH;WKST=SU;UNTIL=20261231T225959Z",
    ),
    "as Outlook writes": (
        "FREQ=MONTHLY;COUNT=10;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2;WKST=SU",
        "FREQ=MONTHLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2;WKST=SU;COUNT=10",
    ),
    "in any order": ("COUNT=3;BYDAY=MO;FREQ=WEEKLY", "FREQ=WEEKLY;BYDAY=MO;COUNT=3"),
    "an impossible day that ends": (
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=2",
        "FREQ=YEARLY;BYMONTHDAY=30;BYMONTH=2;COUNT=2",
    ),
}

# Invalid rules, and the part that the error must name.
INVALID_RULES = {
    "nothing": ("", "FREQ"),
    "a name alone": ("FREQ", "FREQ"),
    "no frequency": ("INTERVAL=2", "FREQ"),
    "an empty frequency": ("FREQ=", "FREQ"),
    "secondly": ("FREQ=SECONDLY", "FREQ"),
    "minutely": ("FREQ=MINUTELY", "FREQ"),
    "hourly": ("FREQ=HOURLY", "FREQ"),
    "two frequencies": ("FREQ=DAILY,WEEKLY", "FREQ"),
    "a frequency twice": ("FREQ=DAILY;FREQ=DAILY", "FREQ"),
    "interval 0": ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
    "interval 1000": ("FREQ=DAILY;INTERVAL=1000", "INTERVAL"),
    "interval -1": ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
    "interval +1": ("FREQ=DAILY;INTERVAL=+1", "INTERVAL"),
    "a space in a number": ("FREQ=DAILY;INTERVAL=1 0", "INTERVAL"),
    "a space in a name": ("FREQ=DAILY;INTER VAL=10", "FREQ"),
    "interval 1.5": ("FREQ=DAILY;INTERVAL=1.5", "INTERVAL"),
    "two intervals": ("FREQ=DAILY;INTERVAL=1,2", "INTERVAL"),
    "an interval in other digits": ("FREQ=DAILY;INTERVAL=١", "INTERVAL"),
    "an interval of billions": ("FREQ=DAILY;INTERVAL=" + "9" * 150, "INTERVAL"),
    "an interval twice": ("FREQ=DAILY;INTERVAL=2;INTERVAL=3", "INTERVAL"),
    "byhour": ("FREQ=DAILY;BYHOUR=9", "BYHOUR"),
    "byminute": ("FREQ=DAILY;BYMINUTE=9", "BYMINUTE"),
    "bysecond": ("FREQ=DAILY;BYSECOND=9", "BYSECOND"),
    "byweekno": ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO"),
    "byyearday": ("FREQ=YEARLY;BYYEARDAY=100", "BYYEARDAY"),
    "wkst of no weekday": ("FREQ=WEEKLY;WKST=XX", "WKST"),
    "two wkst": ("FREQ=WEEKLY;WKST=SU,MO", "WKST"),
    "an empty wkst": ("FREQ=WEEKLY;WKST=", "WKST"),
    "byeaster, which dateutil knows": ("FREQ=YEARLY;BYEASTER=0", "BYDAY"),
    "bysetpos 0": ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "BYSETPOS"),
    "bysetpos 367": ("FREQ=YEARLY;BYDAY=MO;BYSETPOS=1,367", "BYSETPOS"),
    "bysetpos -367": ("FREQ=YEARLY;BYDAY=MO;BYSETPOS=-367", "BYSETPOS"),
    "bysetpos of two signs": ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=+-1", "BYSETPOS"),
    "bysetpos of a hole": ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1,,2", "BYSETPOS"),
    "a second Monday of a week": ("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "Never"),
    "a second one of a day": ("FREQ=DAILY;BYDAY=MO;BYSETPOS=2,-2", "Never"),
    "bysetpos of nothing": ("FREQ=MONTHLY;BYSETPOS=-1", "BYSETPOS"),
    "until and count": ("FREQ=DAILY;UNTIL=20301231;COUNT=3", "UNTIL"),
    "until a day that never was": ("FREQ=DAILY;UNTIL=20260230", "UNTIL"),
    "until an hour that no day has": ("FREQ=DAILY;UNTIL=20301231T240000Z", "UNTIL"),
    "until a second that no minute has": ("FREQ=DAILY;UNTIL=20301231T235960Z", "UNTIL"),
    "until with an offset": ("FREQ=DAILY;UNTIL=20301231T000000+0100", "UNTIL"),
    "until without seconds": ("FREQ=DAILY;UNTIL=20301231T0000Z", "UNTIL"),
    "until the year 0": ("FREQ=DAILY;UNTIL=00001231T000000Z", "UNTIL"),
    "until with hyphens": ("FREQ=DAILY;UNTIL=2030-12-31", "UNTIL"),
    "until twice": ("FREQ=DAILY;UNTIL=20301231;UNTIL=20301231", "UNTIL"),
    "until a list": ("FREQ=DAILY;UNTIL=20301231,20311231", "UNTIL"),
    "count 0": ("FREQ=DAILY;COUNT=0", "COUNT"),
    "count 1000": ("FREQ=DAILY;COUNT=1000", "COUNT"),
    "an unknown weekday": ("FREQ=WEEKLY;BYDAY=XX", "BYDAY"),
    "an empty weekday": ("FREQ=WEEKLY;BYDAY=", "BYDAY"),
    "a hole in the weekdays": ("FREQ=WEEKLY;BYDAY=MO,,TU", "BYDAY"),
    "a weekday number of 0": ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
    "a 54th weekday": ("FREQ=YEARLY;BYDAY=54MO", "BYDAY"),
    "a 6th weekday of a month": ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY"),
    "a 6th weekday of one month of a year": ("FREQ=YEARLY;BYMONTH=5;BYDAY=-6MO", "BYDAY"),
    "numbered weekdays of a week": ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY"),
    "numbered weekdays of a day": ("FREQ=DAILY;BYDAY=-1MO", "BYDAY"),
    "day 0 of the month": ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
    "day 32 of the month": ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
    "days of the month by week": ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY"),
    "month 0": ("FREQ=YEARLY;BYMONTH=0", "BYMONTH"),
    "month 13": ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
    "two semicolons at the end": ("FREQ=DAILY;;", "FREQ"),
    "a semicolon alone": (";", "FREQ"),
    "an empty part within": ("FREQ=DAILY;;COUNT=2", "FREQ"),
    "a line break": ("FREQ=DAILY\n", "FREQ"),
    "a second rule": ("FREQ=DAILY\nRRULE:FREQ=DAILY", "FREQ"),
    "RRULE: twice": ("RRULE:RRULE:FREQ=DAILY", "FREQ"),
    "DTSTART": ("DTSTART:20260101\nRRULE:FREQ=DAILY", "FREQ"),
    "a letter that upper() turns into an allowed one": ("freq=daıly", "FREQ"),
    "an impossible day": ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "Never"),
    "an interval that never reaches the weekday": ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "Never"),
    "too long a list": ("FREQ=MONTHLY;BYMONTHDAY=" + ",".join(["1"] * 100), str(MAX_RULE)),
    "a huge list": ("FREQ=MONTHLY;BYMONTHDAY=" + ",".join(["1"] * 20_000), str(MAX_RULE)),
    "a number": (5, str(MAX_RULE)),
    "a list": (["FREQ=DAILY"], str(MAX_RULE)),
    "an object": ({"freq": "daily"}, str(MAX_RULE)),
    "true": (True, str(MAX_RULE)),
}


class TestNormalize:
    @pytest.mark.parametrize(("rule", "normalized"), VALID_RULES.values(), ids=VALID_RULES)
    def test_a_valid_rule_is_normalized(self, rule: str, normalized: str) -> None:
        assert normalize(rule) == normalized
        assert normalize(normalized) == normalized

    @pytest.mark.parametrize(("rule", "part"), INVALID_RULES.values(), ids=INVALID_RULES)
    def test_an_invalid_rule_is_refused_with_the_name_of_its_part(self, rule: Any, part: str) -> None:
        values = {"due_date": day("2026-12-01")}
        with pytest.raises(ValidationError) as error:
            schedule.check_next_occurrence(values | task_in.load({"title": "x", "recurrence": rule}))
        (fault,) = violations(error.value)
        assert fault["pointer"] == "/recurrence"
        assert part in fault["detail"]

    def test_valid_and_invalid_rules_give_201_and_422_over_http(self, alice: Person) -> None:
        for rule, part in INVALID_RULES.values():
            response = alice.post(json={"title": "x", "due_date": "2026-12-01", "recurrence": rule})
            assert response.status_code == 422, rule
            (fault,) = response.get_json()["errors"]
            assert (fault["pointer"], part in fault["detail"]) == ("/recurrence", True), rule
        assert alice.get().get_json() == []
        for rule, normalized in VALID_RULES.values():
            task = alice.add(due_date="2026-12-01", recurrence=rule)
            assert task["recurrence"] == normalized
            assert alice.get(f"/{task['id']}").get_json() == task

    def test_an_unknown_part_is_not_echoed(self, alice: Person) -> None:
        response = alice.post(json={"title": "x", "due_date": "2026-12-01", "recurrence": "FREQ=DAILY;EVIL=PAYLOAD"})
        assert response.status_code == 422
        assert "EVIL" not in response.text
        assert "PAYLOAD" not in response.text

    def test_a_rule_without_a_due_date_is_422(self, alice: Person) -> None:
        response = alice.post(json={"title": "x", "recurrence": "FREQ=DAILY"})
        assert [fault["pointer"] for fault in response.get_json()["errors"]] == ["/recurrence"]

    @given(st.text(max_size=300) | st.text("FREQ=DAILYWKMOTH;,-:0123456789BUNTEC\n ", max_size=MAX_RULE))
    @settings(max_examples=200)
    def test_any_text_is_normalized_or_refused_with_a_validation_error(self, text: str) -> None:
        try:
            rule = normalize(text)
        except ValidationError:
            return
        assert normalize(rule) == rule
