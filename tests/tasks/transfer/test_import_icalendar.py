"""Import of iCalendar: an export is taken back without a loss; files of other programs, with a report of what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import icalendar
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from taskapi.tasks.schemas import MAX_TAG
from taskapi.tasks.transfer import icalendar_lines, import_report
from taskapi.tasks.transfer.icalendar_lines import MAX_ITEMS, Property, read_todos
from taskapi.tasks.transfer.import_icalendar import CATEGORIES_CHARACTERS, read
from taskapi.tasks.transfer.import_report import LINE_BYTES, MAX_REPORTED_LINES, READ_AT_A_TIME, MalformedFile, Report
from tests.conftest import Person
from tests.slices import Slices

FILES = Path(__file__).with_name("files")

HEAD, END = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "END:VCALENDAR\r\n"


def load(person: Person, data: bytes | str) -> TestResponse:
    """Import an iCalendar file."""
    return person.data("POST", "/import", data=data, content_type="text/calendar")


def exported(person: Person, format: str = "json") -> Any:
    response = person.data("GET", f"/export?format={format}")
    return response.get_json(force=True)["tasks"] if format == "json" else response.data


def todo(*lines: str) -> str:
    """Return a file with one VTODO of these lines."""
    return HEAD + "".join(f"{line}\r\n" for line in ("BEGIN:VTODO", *lines, "END:VTODO")) + END


def read_one(*lines: str) -> tuple[dict[str, Any], list[str]]:
    """Return the members of the task of a VTODO, and the names of what is not kept."""
    report = Report()
    (members,) = read(todo(*lines).encode(), report)
    return members, [each["name"] for each in report.dropped]


# Exports


def add_varied_tasks(person: Person) -> None:
    """Add tasks with every member that a calendar has, and text with all characters that it escapes."""
    person.add(
        "Semi; comma, back\\slash \\n: ü🙂" * 6, description="a\nb;c,d\\n\\\\ \t" + "é" * 200, tags=["x,y", "z;z", "\\"]
    )
    person.add("Empty", description="")
    person.add("Dated", due_date="2026-12-24", priority="low")
    person.add("Timed", due_date="2026-12-24", due_time="09:30", priority="medium")
    person.add("In UTC", due_date="2026-12-24", due_time="09:30", time_zone="UTC", priority="high")
    person.add("In a gap", due_date="2040-03-25", due_time="02:30", time_zone="Europe/Berlin")
    weekly = {"recurrence": "FREQ=WEEKLY;BYDAY=FR;UNTIL=20310101", "repeat_from": "completion"}
    person.add("Until", due_date="2026-11-20", due_time="23:30", time_zone="America/New_York", **weekly)
    last = {"recurrence": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;WKST=SU;COUNT=4"}
    person.add("A day in a zone", due_date="2900-01-31", time_zone="Pacific/Auckland", **last)
    timed = {"due_date": "2026-11-20", "due_time": "08:00", "time_zone": "America/New_York"}
    person.add("Until a time", **timed, recurrence="FREQ=DAILY;UNTIL=20270101T130000Z")
    person.add("Floating", due_date="2026-11-20", due_time="08:00", recurrence="FREQ=DAILY;UNTIL=20261231")
    person.add("Ended", due_date="2026-11-20", recurrence="FREQ=DAILY;UNTIL=20200101")
    daily = person.add("Daily", due_date="2900-01-01", recurrence="FREQ=DAILY;COUNT=9")
    person.patch(f"/{daily['id']}/complete")
    person.patch(f"/{daily['id'] + 1}/complete")
    person.add("Done", completed=True)


def test_an_export_is_taken_back_without_a_change(alice: Person) -> None:
    add_varied_tasks(alice)
    before, tag = exported(alice), alice.get().headers["ETag"]
    result = load(alice, exported(alice, "ics")).get_json()
    assert result == {"created": 0, "updated": 0, "unchanged": len(before), "renumbered": [], "dropped": []}
    assert (exported(alice), alice.get().headers["ETag"]) == (before, tag)


def test_an_export_restores_the_members_that_it_has_after_an_erasure(alice: Person) -> None:
    add_varied_tasks(alice)
    before, data = exported(alice), exported(alice, "ics")
    assert alice.data("DELETE").status_code == 204
    assert load(alice, data).get_json()["created"] == len(before)
    for task, old in zip(exported(alice), before, strict=True):
        # A completed task has no rule; COUNT and UNTIL of an open one are those that are left.
        left = {
            "FREQ=DAILY;COUNT=9": "FREQ=DAILY;COUNT=7",
            "FREQ=DAILY;UNTIL=20200101": "FREQ=DAILY;UNTIL=20261120",
            "FREQ=DAILY;UNTIL=20270101T130000Z": "FREQ=DAILY;UNTIL=20270101",
        }
        rule = None if old["completed"] else left.get(old["recurrence"], old["recurrence"])
        others = {"version", "series_id", "occurrence", "next_task_id"}
        assert {name: task[name] for name in task.keys() - others} == {
            **{name: old[name] for name in old.keys() - others},
            "recurrence": rule,
            "position": task["position"],
        }


def test_a_task_that_another_program_has_changed_is_updated(alice: Person) -> None:
    alice.add("old", due_date="2026-12-24", recurrence="FREQ=DAILY", tags=["a"], description="text")
    data = exported(alice, "ics").decode()
    data = (
        data.replace("SUMMARY:old", "SUMMARY:new").replace("RRULE:FREQ=DAILY\r\n", "").replace("CATEGORIES:a\r\n", "")
    )
    assert load(alice, data).get_json()["updated"] == 1
    (task,) = exported(alice)
    assert (task["title"], task["recurrence"], task["tags"], task["description"]) == ("new", None, [], "text")


def test_the_export_of_another_user_is_added(alice: Person, bob: Person) -> None:
    alice.add("hers")
    bob.add("his")
    assert load(bob, exported(alice, "ics")).get_json()["renumbered"] == [{"from": 1, "to": 2}]
    assert [(task["id"], task["title"]) for task in exported(bob)] == [(1, "his"), (2, "hers")]


# Files of other programs


def dropped(response: TestResponse) -> dict[str, list[int]]:
    """Return the lines of what an import, which must have succeeded, does not keep."""
    assert response.status_code == 200, response.text
    result = response.get_json()
    assert all(each["count"] == len(each["lines"]) for each in result["dropped"])
    return {each["name"]: each["lines"] for each in result["dropped"]}


def values(task: dict[str, Any], *names: str) -> list[Any]:
    return [task[name] for name in names]


SCHEDULE = ("due_date", "due_time", "time_zone", "recurrence")


def test_a_file_of_tasks_org_is_imported(alice: Person) -> None:
    response = load(alice, (FILES / "tasks_org.ics").read_bytes())
    assert dropped(response) == {"other property": [15], "RELATED-TO": [16], "VALARM": [17], "DTSTART": [48]}
    books, rent, call = exported(alice)
    assert books["title"] == "Return the library books"
    assert books["description"] == "Shelf 4, second floor\nAsk for the receipt"
    assert values(books, "tags", "priority", "completed") == [["Errands", "Books"], "medium", False]
    assert values(books, *SCHEDULE) == ["2026-03-10", None, None, None]
    assert values(books, "created_at", "updated_at") == ["2026-03-03T18:22:04.000Z", "2026-03-03T18:22:15.000Z"]
    assert values(rent, *SCHEDULE) == ["2026-12-15", "17:00", "America/Chicago", "FREQ=MONTHLY;INTERVAL=1"]
    assert rent["due_at"] == "2026-12-15T23:00:00.000Z"
    assert values(call, "priority", "completed", "completed_at") == ["low", True, "2026-12-12T17:25:58.000Z"]


def test_a_file_of_nextcloud_with_several_calendars_is_imported(alice: Person) -> None:
    response = load(alice, (FILES / "nextcloud.ics").read_bytes())
    assert dropped(response) == {
        "STATUS": [12],
        "other property": [13, 14],
        "DTSTART": [39],
        "LOCATION": [43],
        "URL": [44],
    }
    forget, clean, recurring = exported(alice)
    assert values(forget, "completed", "created_at") == [False, "2026-03-21T00:16:00.000Z"]
    assert values(forget, *SCHEDULE) == ["2026-04-18", "18:00", None, None]
    assert values(clean, "completed", "completed_at", "tags") == [True, "2026-04-02T08:15:57.000Z", ["tag1", "tag2"]]
    assert values(recurring, *SCHEDULE) == ["2026-08-10", None, None, "FREQ=DAILY;COUNT=3"]
    assert recurring["priority"] == "high"


def test_a_file_of_apple_reminders_is_imported(alice: Person) -> None:
    response = load(alice, (FILES / "apple_reminders.ics").read_bytes())
    assert dropped(response) == {"VALARM": [40], "other property": [39, 58], "ATTACH": [59]}
    saw, paint = exported(alice)
    assert values(saw, *SCHEDULE) == ["2026-10-16", "09:00", "Europe/Berlin", "FREQ=WEEKLY;UNTIL=20261231"]
    assert values(saw, "priority", "description") == ["high", None]
    assert paint["title"] == "Buy paint for the hallway, the kitchen and the children's room"
    assert values(paint, "completed", *SCHEDULE) == [True, None, None, None, None]


def test_an_unusual_file_is_imported_and_what_it_has_beyond_tasks_is_reported(alice: Person) -> None:
    response = load(alice, (FILES / "evolution.ics").read_bytes())
    lost = {
        "STATUS": [24],
        "CREATED": [25],
        "DTSTART": [20],
        "DUE": [30],
        "RRULE": [31],
        "ATTENDEE": [32],
        "VEVENT": [34],
    }
    assert dropped(response) == lost
    talk, second = exported(alice)
    assert values(talk, "title", "completed") == ["Prepare the talk", True]
    assert values(talk, *SCHEDULE) == ["2026-02-10", "12:30", "Europe/Berlin", None]
    assert values(second, "title", *SCHEDULE) == ["Every second", "2026-02-10", "10:00", None, None]


@pytest.mark.parametrize("name", ["tasks_org", "nextcloud", "apple_reminders", "evolution"])
def test_properties_are_read_as_icalendar_reads_them(name: str) -> None:
    data = (FILES / f"{name}.ics").read_bytes().replace(b"CREATED:0000", b"CREATED:2000")  # icalendar rejects it
    todos = [*read_todos(data, Report(), {})]
    expected = [
        each for calendar in icalendar.Calendar.from_ical(data, multiple=True) for each in calendar.walk("VTODO")
    ]
    assert len(todos) == len(expected)
    for read_todo, each in zip(todos, expected, strict=True):
        names = {name for name, _ in each.property_items(recursive=False)} - {"BEGIN", "END"}
        assert {found.name for found in read_todo.properties} == names
        for found in read_todo.properties:
            if found.name in ("SUMMARY", "DESCRIPTION", "LOCATION"):
                assert found.unescaped() == str(each[found.name])
            if found.name == "CATEGORIES":
                assert found.items() == [str(tag) for tag in each.categories]


# Single properties


@pytest.mark.parametrize(
    ("lines", "members", "names"),
    [
        (["SUMMARY:x"], {"title": "x", "completed": False, "priority": "none", "tags": []}, []),
        ([], {"title": "Untitled"}, ["SUMMARY"]),
        (["SUMMARY:\u200b \t"], {"title": "Untitled"}, ["SUMMARY"]),
        (["SUMMARY: a\\nb \x07 c"], {"title": "a b   c"}, []),
        (["SUMMARY:" + "é" * 201], {"title": "é" * 200}, ["SUMMARY"]),
        (['SUMMARY;LANGUAGE=de;X="a:b;c",d:Fünf: sechs'], {"title": "Fünf: sechs"}, []),
        (["summary:x", "Due;value=date:20261224"], {"title": "x", "due_date": "2026-12-24"}, []),
        (["SUMMARY:x", "DESCRIPTION:a\\Nb\\\\n\\;\\,"], {"description": "a\nb\\n;,"}, []),
        (["SUMMARY:x", "DESCRIPTION:" + "x" * 10_001], {"description": "x" * 10_000}, ["DESCRIPTION"]),
        (["SUMMARY:x", "CATEGORIES:a, A,,b\\,c", "CATEGORIES:d"], {"tags": ["a", "b,c", "d"]}, []),
        (["SUMMARY:x", f"CATEGORIES:{','.join(map(str, range(21)))}"], {"tags": [*map(str, range(20))]}, ["CATEGORIES"]),
        (["SUMMARY:x", "CATEGORIES:" + "x" * 51], {"tags": ["x" * 50]}, ["CATEGORIES"]),
        (["SUMMARY:x", "PRIORITY:4"], {"priority": "high"}, []),
        (["SUMMARY:x", "PRIORITY:6"], {"priority": "low"}, []),
        (["SUMMARY:x", "PRIORITY:10"], {"priority": "none"}, []),
        (["SUMMARY:x", "COMPLETED:20260101T000000Z"], {"completed": True, "completed_at": "2026-01-01T00:00:00.000Z"}, []),
        (["SUMMARY:x", "COMPLETED:20260101T000000Z", "STATUS:NEEDS-ACTION"], {"completed": False}, []),
        (["SUMMARY:x", "STATUS:COMPLETED", "LAST-MODIFIED:20260101T000000Z"], {"completed_at": "2026-01-01T00:00:00.000Z"}, []),
        (["SUMMARY:x", "PERCENT-COMPLETE:50"], {"completed": False}, ["PERCENT-COMPLETE"]),
        (["SUMMARY:x", "PERCENT-COMPLETE:100"], {"completed": True}, []),
        (["SUMMARY:x", "PERCENT-COMPLETE:100", "STATUS:NEEDS-ACTION"], {"completed": False}, ["PERCENT-COMPLETE"]),
        (["SUMMARY:x", 'ATTENDEE;CN=Ann "A" Lee;ROLE=X:mailto:a@b.example'], {"title": "x"}, ["ATTENDEE"]),
        (["SUMMARY:x", "X_FOO:1", "item1.X-ABLabel:2"], {"title": "x"}, ["other property"]),
        (["SUMMARY:x", "DUE:20260230"], {"due_date": None}, ["DUE"]),
        (["SUMMARY:x", "DUE:99991231T000000Z"], {"due_date": None}, ["DUE"]),
        (["SUMMARY:x", "DUE:20261224T250000"], {"due_date": None}, ["DUE"]),
        (["SUMMARY:x", "DUE:tomorrow"], {"due_date": None}, ["DUE"]),
        (["SUMMARY:x", "DUE:20261224T093059Z"], {"due_date": "2026-12-24", "due_time": "09:30", "time_zone": "UTC"}, []),
        (["SUMMARY:x", 'DUE;TZID="Europe/Berlin":20261224T0930'], {"due_date": None}, ["DUE"]),
        (["SUMMARY:x", 'DUE;TZID="Europe/Berlin":20261224T093000'], {"time_zone": "Europe/Berlin"}, []),
        (["SUMMARY:x", "DTSTART:20261224T093000"], {"due_date": None}, ["DTSTART"]),
        (["SUMMARY:x", "DTSTART:20261224T093000", "DURATION:P1W"], {"due_date": "2026-12-31", "due_time": "09:30"}, ["DTSTART"]),
        (["SUMMARY:x", "DTSTART:20261224", "DURATION:soon"], {"due_date": None}, ["DURATION", "DTSTART"]),
        (["SUMMARY:x", "DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=DAILY"], {"due_date": "2026-12-24", "recurrence": "FREQ=DAILY"}, []),
        (["SUMMARY:x", "RRULE:FREQ=DAILY"], {"recurrence": None}, ["RRULE"]),
        (["SUMMARY:x", "DUE:20261224", "RRULE:freq=daily; count=2"], {"recurrence": "FREQ=DAILY;COUNT=2"}, []),
        (["SUMMARY:x", "DUE:20261224", "RRULE:FREQ=HOURLY"], {"recurrence": None}, ["RRULE"]),
        (["SUMMARY:x", "DUE:20261224T235900Z", "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z"], {"recurrence": "FREQ=DAILY;UNTIL=20261231"}, []),
        (["SUMMARY:x", "DUE:20261224T000000", "RRULE:FREQ=DAILY;UNTIL=00010101T000000Z"], {}, []),
        (["SUMMARY:x", "UID:a-b-12@taskapi", "CREATED:20260101T000000Z"], {"user_id": "a-b", "id": 12, "created_at": "2026-01-01T00:00:00.000Z"}, []),
        (["SUMMARY:x", "UID:a@taskapi"], {}, []),
        (["SUMMARY:x", "X-TASKAPI-MILLISECONDS:junk", "CREATED:20260101T000000Z"], {"created_at": "2026-01-01T00:00:00.000Z"}, []),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_property_becomes_these_members(lines: list[str], members: dict[str, Any], names: list[str]) -> None:
    read_members, lost = read_one(*lines)
    assert {name: read_members.get(name, "absent") for name in members} == members
    assert lost == names


def test_a_line_may_be_folded_within_a_character_and_at_a_line_feed_only(alice: Person) -> None:
    data = todo("SUMMARY:x").encode().replace(b"x\r\n", b"\xc3\n \xa9\n\t!\n")
    assert load(alice, data.replace(b"\r\n", b"\n")).status_code == 200
    assert alice.titles() == ["é!"]


def test_the_report_of_a_kind_has_the_number_of_all_and_the_first_lines(alice: Person) -> None:
    number = MAX_REPORTED_LINES + 5
    result = load(alice, todo("SUMMARY:x", *["LOCATION:y"] * number)).get_json()
    (kind,) = result["dropped"]
    assert (kind["count"], kind["lines"]) == (number, [*range(5, 5 + MAX_REPORTED_LINES)])


def test_a_changed_occurrence_of_a_recurring_task_is_reported(alice: Person) -> None:
    response = load(alice, todo("SUMMARY:x", "RECURRENCE-ID:20261224", "DUE:20261224"))
    assert dropped(response) == {"RECURRENCE-ID": [5]}
    assert alice.titles() == []


# Malformed and long files


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("", 1),
        ("\r\n\r\n", 1),
        ("BEGIN:VTODO\r\nEND:VTODO\r\n", 1),
        ("title\r\nx\r\n", 1),
        (HEAD, 3),
        (HEAD + "BEGIN:VTODO\r\nSUMMARY:x\r\n", 5),
        (HEAD + "BEGIN:VTODO\r\nEND:VCALENDAR\r\n", 4),
        (HEAD + "END:VCALENDAR\r\nEND:VCALENDAR\r\n", 4),
        (HEAD + "BEGIN:VTODO\r\nBEGIN:VTODO\r\n", 4),
        (HEAD + "BEGIN:VCALENDAR\r\n", 3),
        (HEAD + "".join(f"BEGIN:X{n}\r\n" for n in range(20)), 12),
        (todo("SUMMARY x"), 4),
        (todo("SUMMARY:x", "DUE;TZID:20261224"), 5),
        (todo("SUMMARY:x", 'DUE;TZID="Europe/Berlin:20261224'), 5),
        (todo("SUMMARY:x").encode() + b"\xff", 7),
        (todo("SUMMARY:x").encode("utf-16"), 1),
    ],
)
def test_a_malformed_file_is_400_with_the_line_and_changes_nothing(alice: Person, data: Any, line: int) -> None:
    response = load(alice, data)
    assert response.status_code == 400, response.text
    assert [error["pointer"] for error in response.get_json()["errors"]] == [f"/lines/{line}"]
    assert alice.titles() == []


def test_more_tasks_than_an_import_may_have_are_422(alice: Person) -> None:
    data = HEAD + "BEGIN:VTODO\r\nSUMMARY:x\r\nEND:VTODO\r\n" * 10_001 + END
    response = load(alice, data)
    assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, "/lines")


def test_a_task_twice_is_422_with_its_line(alice: Person) -> None:
    lines = ["SUMMARY:x", "UID:alice-1@taskapi", "END:VTODO", "BEGIN:VTODO", "SUMMARY:x", "UID:alice-1@taskapi"]
    response = load(alice, todo(*lines))
    assert [error["pointer"] for error in response.get_json()["errors"]] == ["/lines/7/id"]


def test_a_long_line_is_cut_and_needs_no_more_memory(alice: Person) -> None:
    data = todo(
        "SUMMARY:x", "ATTACH:" + "é" * LINE_BYTES, "DESCRIPTION:" + "\r\n ".join(["é" * 30] * 5000), "PRIORITY:1"
    )
    assert dropped(load(alice, data)) == {"ATTACH": [5], "DESCRIPTION": [6]}
    (task,) = exported(alice)
    assert (task["description"], task["priority"]) == ("é" * 10_000, "high")


def test_of_a_long_list_only_the_first_items_are_read() -> None:
    found = Property(1, "CATEGORIES", {}, ",".join(map(str, range(10 * MAX_ITEMS))))
    assert found.items() == [str(number) for number in range(MAX_ITEMS)]


def test_of_many_parameters_only_the_first_are_read() -> None:
    line = "SUMMARY" + "".join(f";P{number}=x" for number in range(10 * MAX_ITEMS)) + ":y"
    (found,) = [*read_todos(todo(line).encode(), Report(), {})]
    assert [len(each.parameters) for each in found.properties] == [MAX_ITEMS]


def test_of_many_long_categories_only_the_first_characters_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read_characters = []
    monkeypatch.setattr(icalendar_lines, "_unescape", lambda text: read_characters.append(len(text)) or text)
    (members,) = read(todo("SUMMARY:x", *["CATEGORIES:" + "a" * 60_000] * 20).encode(), Report())
    assert members["tags"] == ["a" * MAX_TAG]
    assert 0 < sum(read_characters) <= CATEGORIES_CHARACTERS + len("x")


@pytest.mark.parametrize("is_tzid_first", [True, False])
def test_the_name_of_a_time_zone_may_precede_or_follow_its_tzid(*, is_tzid_first: bool) -> None:
    lines: list[str] = []
    for tzid, name in (("One", "Europe/Berlin"), ("Two", "Asia/Tokyo")):
        properties = (f"TZID:{tzid}", f"X-LIC-LOCATION:{name}")
        lines += ("BEGIN:VTIMEZONE", *(properties if is_tzid_first else reversed(properties)), "END:VTIMEZONE")
    lines += ("BEGIN:VTIMEZONE", "X-LIC-LOCATION:UTC", "END:VTIMEZONE", "BEGIN:VTIMEZONE", "TZID:X", "END:VTIMEZONE")
    zones: dict[str, str] = {}
    assert not [*read_todos((HEAD + "\r\n".join([*lines, END])).encode(), Report(), zones)]
    assert zones == {"One": "Europe/Berlin", "Two": "Asia/Tokyo"}


def test_of_many_time_zones_only_the_first_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icalendar_lines, "MAX_PROPERTIES", 2)
    zone = "BEGIN:VTIMEZONE\r\nX-LIC-LOCATION:UTC\r\nTZID:{}\r\nEND:VTIMEZONE\r\n"
    zones: dict[str, str] = {}
    assert not [*read_todos((HEAD + "".join(map(zone.format, range(5))) + END).encode(), Report(), zones)]
    assert [*zones] == ["0", "1"]


def test_a_file_with_too_many_lines_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icalendar_lines, "MAX_LINES", 6)
    assert len([*read(todo("SUMMARY:x").encode(), Report())]) == 1
    with pytest.raises(MalformedFile):
        [*read(todo("SUMMARY:x", "A:b").encode(), Report())]


def test_reading_a_file_yields_to_other_requests_after_a_bounded_number_of_lines(slices: Slices) -> None:
    slices.count(icalendar_lines, "work_of_line")
    [*read(todo("SUMMARY:x", *["LOCATION:y"] * 5 * READ_AT_A_TIME).encode(), Report())]
    assert slices.total > 5 * READ_AT_A_TIME
    assert slices.longest == READ_AT_A_TIME
    slices.clear()
    [*read(todo("SUMMARY:x", *["LOCATION:" + "y" * 20_000] * 20).encode(), Report())]
    assert slices.longest <= READ_AT_A_TIME * 200 // 20_000 + 4, "the first lines are short"


LINES = st.sampled_from(
    [
        *("BEGIN:VTODO", "END:VTODO", "BEGIN:VALARM", "END:VALARM", "SUMMARY:x", "BEGIN:VTIMEZONE", "END:VTIMEZONE"),
        *("TZID:Z", "X-LIC-LOCATION:UTC", "DUE;TZID=Z:20261224T000000", "RRULE:FREQ=DAILY", "UID:alice-1@taskapi"),
    ]
)
NAMES = st.sampled_from(
    [
        *("SUMMARY", "DUE", "DTSTART", "DURATION", "RRULE", "CREATED", "COMPLETED", "STATUS", "UID", "CATEGORIES"),
        *("PRIORITY", "PERCENT-COMPLETE", "X-TASKAPI-MILLISECONDS", "X-TASKAPI-TIME-ZONE", "DUE;TZID=Europe/Berlin"),
    ]
)
VALUES = st.sampled_from(
    [
        *("20261224", "20261224T093000Z", "00010101T000000Z", "99991231T235959Z", "20260230", "P1D", "PT99999H"),
        *("FREQ=DAILY;UNTIL=99991231T235959Z", "FREQ=DAILY;UNTIL=20261224T093000", "FREQ=DAILY;INTERVAL=0", "COUNT=3"),
        *("COMPLETED", "CANCELLED", "alice-1@taskapi", "-5", "999", "Mars/Olympus", "\\", "\x00", "²"),
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
CONTENT = st.lists(LINES | st.tuples(NAMES, VALUES).map(":".join) | st.text(st.characters(codec="utf-8"), max_size=10))


@given(
    st.binary(max_size=60)
    | CONTENT.map(lambda lines: (HEAD + "\r\n".join(lines) + "\r\n" + END).encode())
    | st.lists(st.tuples(NAMES, VALUES).map(":".join), max_size=8).map(lambda lines: todo(*lines).encode())
)
@example(todo("DUE:29991231T235900", "RRULE:FREQ=DAILY;UNTIL=99991231T235959Z").encode())
@example(todo("DUE;TZID=Pacific/Kiritimati:29991231T235900", "RRULE:FREQ=DAILY;UNTIL=99991231T235959Z").encode())
@example(todo("DTSTART:29991231", "DURATION:P9999W").encode())
@example(todo("PRIORITY:²").encode())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_imported_or_refused_with_a_line(alice: Person, data: bytes) -> None:
    response = load(alice, data)
    assert response.status_code in (200, 400, 422)
    if response.status_code != 200:
        assert all(error["pointer"].startswith("/lines") for error in response.get_json()["errors"])
    assert (
        max((len(each["lines"]) for each in response.get_json().get("dropped", [])), default=0)
        <= import_report.MAX_REPORTED_LINES
    )
