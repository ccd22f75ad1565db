"""Import of CSV: an export is taken back without a loss, also after a spreadsheet has saved it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from taskapi.tasks.transfer import import_csv, import_report
from taskapi.tasks.transfer.csv_cells import COLUMNS, escape, join_tags, split_tags, unescape
from taskapi.tasks.transfer.import_report import LINE_BYTES, MalformedFile, Report
from tests.conftest import Person
from tests.slices import Slices

FILES = Path(__file__).with_name("files")

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def load(person: Person, data: bytes | str) -> TestResponse:
    """Import a CSV file."""
    return person.data("POST", "/import", data=data, content_type="text/csv; charset=utf-8")


def exported(person: Person, format: str = "json") -> Any:
    response = person.data("GET", f"/export?format={format}")
    return response.get_json(force=True)["tasks"] if format == "json" else response.data


@given(st.text())
@example("'")
@example("''=")
@example("'-1")
@example("'text")
def test_every_text_is_read_back_from_its_cell_which_is_no_formula(text: str) -> None:
    assert not escape(text).startswith(FORMULA_STARTS)
    assert escape(text) != ""
    assert unescape(escape(text)) == text


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")) | st.sampled_from("\",' "), min_size=1)
    )
)
def test_every_list_of_tags_is_read_back_from_its_cell(tags: list[str]) -> None:
    tags = [tag.strip() for tag in tags if tag.strip()]
    assert split_tags(unescape(escape(join_tags(tags)))) == tags
    assert split_tags("home, work") == ["home", "work"], "as in exports until now"


def add_varied_tasks(person: Person) -> None:
    """Add tasks whose texts look like formulas, lists, quoted text, numbers and dates, and one of each other kind."""
    for start in (*FORMULA_STARTS, "'", "'=", ",", '"', ";"):
        person.add(
            f"{start}1, {start}".strip(),
            description=f'{start}x\n"y"; {start}\t',
            tags=[f"{start}a".strip(), "b, c", 'd"e', "'=f"],
        )
    person.add("0123", description="")
    rule = "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;WKST=SU;UNTIL=20991231T225959Z"
    person.add("A day in a zone", due_date="2027-01-31", time_zone="Pacific/Auckland", recurrence=rule)
    person.add("1/2", description=" ")
    person.add("TRUE", description="'")
    person.add(
        "Timed", due_date="2026-12-24", due_time="09:30", time_zone="Europe/Berlin", recurrence="FREQ=DAILY;COUNT=3"
    )
    person.add("Repeats", due_date="2900-01-01", recurrence="FREQ=WEEKLY", repeat_from="completion", priority="high")
    person.patch(f"/{person.get().get_json()[0]['id']}/complete")


def test_an_export_is_taken_back_without_a_change(alice: Person) -> None:
    add_varied_tasks(alice)
    before, tag = exported(alice), alice.get().headers["ETag"]
    result = load(alice, exported(alice, "csv")).get_json()
    assert result == {"created": 0, "updated": 0, "unchanged": len(before), "renumbered": [], "dropped": []}
    assert (exported(alice), alice.get().headers["ETag"]) == (before, tag)


def test_an_export_restores_the_members_that_it_has_after_an_erasure(alice: Person) -> None:
    add_varied_tasks(alice)
    before, data = exported(alice), exported(alice, "csv")
    assert alice.data("DELETE").status_code == 204
    assert load(alice, data).get_json()["created"] == len(before)
    assert [[task[name] for name in COLUMNS] for task in exported(alice)] == [
        [task[name] for name in COLUMNS] for task in before
    ]


def test_a_changed_cell_changes_the_task_and_an_empty_one_clears_a_member(alice: Person) -> None:
    alice.add("old", description="text", tags=["a"], due_date="2026-12-24", due_time="09:30", priority="high")
    lines = [*csv.DictReader(io.StringIO(exported(alice, "csv").decode("utf-8-sig"), newline=""))]
    lines[0] |= {"title": "new", "description": "", "tags": "", "due_time": "", "completed": "TRUE", "priority": ""}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(lines)
    assert load(alice, text.getvalue()).get_json()["updated"] == 1
    (task,) = exported(alice)
    assert (task["title"], task["description"], task["tags"], task["due_time"]) == ("new", None, [], None)
    assert (task["completed"], task["due_date"], task["priority"]) == (True, "2026-12-24", "high")


def test_a_file_that_a_spreadsheet_has_saved_is_read(alice: Person) -> None:
    result = load(alice, (FILES / "spreadsheet.csv").read_bytes()).get_json()
    assert result["dropped"] == [
        {"name": "column 10", "detail": "The column is not one of an export.", "count": 1, "lines": [1]}
    ]
    first, second = exported(alice)
    assert (first["title"], first["description"], first["completed"]) == ("-5 degrees", "two\nlines", True)
    assert (first["tags"], first["due_date"], first["due_time"]) == (["home", "a, b"], "2026-12-24", "09:30")
    assert first["created_at"] == "2026-01-01T00:00:00.000Z"
    assert (second["title"], second["completed"], second["tags"]) == ("Milk", False, [])


@pytest.mark.parametrize(
    ("data", "status", "pointer"),
    [
        pytest.param(b"", 400, "/lines/1", id="empty"),
        pytest.param(b"name\nx\n", 400, "/lines/1", id="no title"),
        pytest.param(b"title,title\nx,y\n", 400, "/lines/1", id="a column twice"),
        pytest.param(b"title" + b",a" * 100, 400, "/lines/1", id="101 columns"),
        pytest.param(b"title\nx\n\xff\n", 400, "/lines/3", id="not UTF-8"),
        pytest.param("title\nx\n".encode("utf-16"), 400, "/lines/1", id="UTF-16"),
        pytest.param(b'title\nx\n"y\nz\n', 400, "/lines/3", id="a quotation mark that is not closed"),
        pytest.param(b'title\nx\n"y"z\n', 400, "/lines/3", id="text after a quotation mark"),
        pytest.param(b"title\nx\n\ny,z\n", 400, "/lines/4", id="more cells than columns"),
        pytest.param(b"title\nx\n" + b"y" * (LINE_BYTES + 1), 400, "/lines/3", id="a long line"),
        pytest.param(b'title\nx\n"' + b"y\n" * LINE_BYTES, 400, None, id="a long record"),
        pytest.param(b"title\nx\n\n" + b"y" * 201, 422, "/lines/4/title", id="a long title"),
        pytest.param(b'title,description\n"x","1\n2"\n,y\n', 422, "/lines/4/title", id="no title after two lines"),
        pytest.param(b"title,due_date\nx,24.12.2026\n", 422, "/lines/2/due_date", id="a date of a spreadsheet"),
        pytest.param(b"title,completed\nx,yes\n", 422, "/lines/2/completed", id="a boolean"),
        pytest.param(b"title,id\nx,1.0\n", 422, "/lines/2/id", id="a number"),
        pytest.param(b"title,due_time\nx,9:30\n", 422, "/lines/2/due_time", id="a time without a date"),
        pytest.param(b"title,id\nx,1\ny,1\n", 422, "/lines/3/id", id="a task twice"),
        pytest.param(b'title,tags\nx,"""a"" b"\n', 422, "/lines/2/tags", id="wrong tags"),
        pytest.param(b"title\n" + b"x\n" * 10_001, 422, "/lines", id="too many tasks"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line_and_changes_nothing(
    alice: Person, data: bytes, status: int, pointer: str | None
) -> None:
    response = load(alice, data)
    assert response.status_code == status, response.text
    (error,) = response.get_json()["errors"]
    assert pointer is None or error["pointer"] == pointer
    assert alice.titles() == []


def test_a_file_with_too_many_lines_is_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_csv, "MAX_LINES", 5)
    assert len([*import_csv.read(b"title\n\n\n\nx\n", Report())]) == 1
    with pytest.raises(MalformedFile):
        [*import_csv.read(b"title\n\n\n\n\nx\n", Report())]


def test_reading_a_file_yields_to_other_requests_after_a_bounded_number_of_lines(slices: Slices) -> None:
    slices.count(import_csv, "work_of_line")
    assert not [*import_csv.read(b"title\n" + b"\n" * 5 * import_report.READ_AT_A_TIME, Report())]
    assert (slices.total, slices.longest) == (5 * import_report.READ_AT_A_TIME + 1, import_report.READ_AT_A_TIME)
    slices.clear()
    assert len([*import_csv.read(b"title\n" + b"x" * 20_000 + b"\n" + b"\n" * 99, Report())]) == 1
    assert slices.longest <= import_report.READ_AT_A_TIME - 20_000 // 200


CELLS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n,;\"'\t=0129:-Z"), max_size=12)
ROWS = st.lists(st.lists(CELLS | st.sampled_from(COLUMNS), max_size=4), max_size=5)


@given(
    st.binary(max_size=80)
    | ROWS.map(lambda rows: "\n".join(",".join(row) for row in [["title", "id"], *rows]).encode())
)
@example(b"title,due_date\nx,0000-00-00\n")
@example(b"title,completed_at\nx,9999-99-99T99:99:99Z\n")
@example(b"title\n\x00\n")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_imported_or_refused_with_a_line(alice: Person, data: bytes) -> None:
    response = load(alice, data)
    assert response.status_code in (200, 400, 422)
    if response.status_code != 200:
        assert all(error["pointer"].startswith("/lines") for error in response.get_json()["errors"])
