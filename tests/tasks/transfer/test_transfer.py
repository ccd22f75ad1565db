"""Export, import and erasure of all data of a user."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import icalendar
import pytest
import vobject
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.tasks.transfer.csv_cells import split_tags, unescape
from taskapi.tasks.transfer.export_rows import EXPORT_CHUNK_ROWS
from tests.conftest import Person, Statements, superuser_engine
from tests.imports import as_stored, own

MAX_BODY_BYTES = 16 * 1024 * 1024


def call(person: Person, method: str, path: str, *, of: str | None = None, **options: Any) -> TestResponse:
    """Send a request; `path` is relative to `/api/{user}`."""
    headers = {"Authorization": f"Bearer {person.token}", **options.pop("headers", {})}
    return person.client.open(f"/api/{of or person.id}{path}", method=method, headers=headers, **options)


def exported(person: Person) -> dict[str, Any]:
    """Return the JSON export; the request must succeed."""
    response = call(person, "GET", "/export")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"] == 'attachment; filename="tasks.json"'
    document: dict[str, Any] = json.loads(response.data)
    return document


def load(person: Person, *tasks: Any) -> TestResponse:
    """Import tasks."""
    return call(person, "POST", "/import", json={"tasks": tasks})


def counts(response: TestResponse) -> tuple[int, int, int]:
    """Return the (created, updated, unchanged) counts of an import that must have succeeded."""
    assert response.status_code == 200, response.text
    body = response.get_json()
    return body["created"], body["updated"], body["unchanged"]


def without_version(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the exported tasks without their versions, which an import changes."""
    return [{name: value for name, value in task.items() if name != "version"} for task in document["tasks"]]


def rows(app: Flask) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of each table, except that of Alembic."""
    with app.app_context(), superuser_engine().connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in db.metadata.sorted_tables
        }


@pytest.fixture
def alice_with_varied_tasks(alice: Person) -> Person:
    """Alice with tasks that have text in many scripts, dates, times, zones, a series, and a trash and a tombstone."""
    alice.add("Ünïcödé 🙂 タスク", description="line\n\tline é 🏳️‍🌈", tags=["Zuhause", "ärger", "🙂"], priority="high")
    alice.add("Dated", due_date="2026-12-24")
    alice.add("Timed", due_date="2026-12-24", due_time="09:30")
    alice.add("Instant", due_date="2026-12-24", due_time="09:30", time_zone="Europe/Berlin")
    alice.add("Series", due_date="2900-01-01", recurrence="FREQ=DAILY;COUNT=3", repeat_from="due")
    alice.patch("/5/complete")
    alice.add("Thrown away", tags=["x"])
    alice.add("Gone for good")
    alice.add("Done", completed=True)
    alice.post("/2/move", json={"after": 6})
    alice.delete("/7")
    alice.delete("/8?permanent=true")
    return alice


def test_an_import_of_an_export_after_an_erasure_restores_all_tasks(alice_with_varied_tasks: Person) -> None:
    before = exported(alice_with_varied_tasks)
    order, trash = alice_with_varied_tasks.titles("?sort=position"), alice_with_varied_tasks.titles("?trash=true")
    assert call(alice_with_varied_tasks, "DELETE", "").status_code == 204
    assert counts(call(alice_with_varied_tasks, "POST", "/import", json=before)) == (8, 0, 0)
    after = exported(alice_with_varied_tasks)
    assert without_version(after) == without_version(before)
    assert (alice_with_varied_tasks.titles("?sort=position"), alice_with_varied_tasks.titles("?trash=true")) == (
        order,
        trash,
    )
    assert alice_with_varied_tasks.titles("?q=ÜNICODE") == ["Ünïcödé 🙂 タスク"]
    assert alice_with_varied_tasks.titles("?tag=ÄRGER") == ["Ünïcödé 🙂 タスク"]
    assert alice_with_varied_tasks.add("next")["id"] == max(task["id"] for task in before["tasks"]) + 1
    assert alice_with_varied_tasks.titles("?sort=position")[-1] == "next"


def test_a_repeated_import_changes_nothing(alice_with_varied_tasks: Person) -> None:
    document = exported(alice_with_varied_tasks)
    tag = alice_with_varied_tasks.get().headers["ETag"]
    assert counts(call(alice_with_varied_tasks, "POST", "/import", json=document)) == (0, 0, 8)
    assert alice_with_varied_tasks.get().headers["ETag"] == tag
    assert exported(alice_with_varied_tasks) == document


def test_an_imported_series_continues_its_count(alice_with_varied_tasks: Person) -> None:
    document = exported(alice_with_varied_tasks)
    call(alice_with_varied_tasks, "DELETE", "")
    call(alice_with_varied_tasks, "POST", "/import", json=document)
    third = alice_with_varied_tasks.patch("/6/complete").get_json()["next_task_id"]
    assert alice_with_varied_tasks.get(f"/{third}").get_json()["due_date"] == "2900-01-03"
    assert alice_with_varied_tasks.patch(f"/{third}/complete").get_json()["next_task_id"] is None, (
        "the series of 3 has ended"
    )


def test_reopening_an_imported_task_keeps_the_changed_next_task(alice: Person) -> None:
    alice.add("Series", due_date="2900-01-01", recurrence="FREQ=DAILY")
    alice.patch("/1/complete")
    alice.put("/2", json={"description": "hours of work"})
    document = exported(alice)
    call(alice, "DELETE", "")
    call(alice, "POST", "/import", json=document)
    alice.patch("/1/complete", json={"completed": False})
    assert alice.get("/2").get_json()["description"] == "hours of work"


def test_a_new_task_is_last_after_imports_of_any_positions(alice: Person) -> None:
    for title in "abcdefghijkl":
        alice.add(title)
    alice.post("/1/move", json={"before": None})
    for id in range(3, 13):
        alice.delete(f"/{id}?permanent=true")
    document = exported(alice)
    call(alice, "DELETE", "")
    call(alice, "POST", "/import", json=document)
    alice.add("new")
    assert alice.titles("?sort=position") == ["b", "a", "new"]
    load(alice, {"title": "odd", "position": "szzzzzzzzzzzzzzzzzzz"}, {"title": "odder", "position": "?"})
    alice.add("newest")
    assert alice.titles("?sort=position") == ["b", "a", "new", "odd", "odder", "newest"]


def test_an_import_updates_tasks_with_existing_ids_and_creates_others(alice: Person) -> None:
    alice.add("one", tags=["a"])
    alice.add("two")
    alice.delete("/2")
    three = alice.add("three")
    alice.delete("/3?permanent=true")
    created = alice.get("/1").get_json()["created_at"]
    tasks = as_stored(
        alice,
        {"id": 1, "title": "uno"},
        {"id": 2, "title": "two", "deleted_at": None},
        {"id": 3, "title": "tres", "created_at": three["created_at"]},
        {"id": 9, "title": "nine"},
    )
    assert counts(load(alice, *tasks, {"title": "no id"})) == (3, 2, 0)
    assert alice.titles("?sort=created_at") == ["uno", "two", "tres", "nine", "no id"]
    one = alice.get("/1").get_json()
    assert (one["tags"], one["created_at"], one["position"]) == (["a"], created, "a1")
    tag = alice.get().headers["ETag"]
    assert counts(load(alice, *tasks)) == (0, 0, 4)
    assert alice.get().headers["ETag"] == tag
    assert alice.add("next")["id"] == 11
    assert len({task["version"] for task in alice.get().get_json()}) == 2


def test_an_import_keeps_members_that_are_not_in_the_file(alice: Person) -> None:
    before = alice.add("one", description="long", tags=["a"], priority="high", due_date="2027-01-02")
    (changed,) = as_stored(alice, {"id": 1, "title": "uno"})
    assert counts(load(alice, changed)) == (0, 1, 0)
    after = alice.get("/1").get_json()
    assert after == {**before, "title": "uno", "version": 2, "updated_at": after["updated_at"]}
    alice.delete("/1")
    assert counts(load(alice, changed)) == (0, 0, 1)
    assert alice.titles("?trash=true") == ["uno"]


def test_an_import_of_more_than_10000_tasks_is_422(alice: Person) -> None:
    response = load(alice, *[{"title": "x"}] * 10_001)
    assert (response.status_code, response.get_json()["errors"][0]["pointer"]) == (422, "/tasks")
    assert alice.titles() == []


def test_an_empty_import_changes_nothing(alice: Person) -> None:
    assert counts(load(alice)) == (0, 0, 0)
    assert counts(call(alice, "POST", "/import", json={"format": "taskapi", "tasks": []})) == (0, 0, 0)
    assert exported(alice) == {"format": "taskapi", "tasks": []}


SERIES = {"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=DAILY", "series_id": 5, "occurrence": 2}


@pytest.mark.parametrize(
    ("task", "pointer"),
    [
        ({}, "/title"),
        ({"title": ""}, "/title"),
        ({"title": "x", "titel": "y"}, "/titel"),
        ({"title": "x", "id": 10**18}, "/id"),
        ({"title": "x", "id": 0}, "/id"),
        ({"title": "x", "id": "1"}, "/id"),
        ({"title": "x", "id": None}, "/id"),
        ({"title": "x", "id": 4}, "/id"),
        ({"title": "x", "due_time": "10:00"}, "/due_time"),
        ({"title": "x", "due_time": None, "time_zone": "UTC"}, "/time_zone"),
        ({"title": "x", "recurrence": "FREQ=DAILY"}, "/recurrence"),
        ({"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=SECONDLY"}, "/recurrence"),
        ({"title": "x", "created_at": "2026-01-01"}, "/created_at"),
        ({"title": "x", "created_at": None}, "/created_at"),
        ({"title": "x", "created_at": "2026-13-01T00:00:00Z"}, "/created_at"),
        ({"title": "x", "created_at": "2026-01-01T25:00:00Z"}, "/created_at"),
        ({"title": "x", "completed_at": 5}, "/completed_at"),
        ({"title": "x", "deleted_at": "never"}, "/deleted_at"),
        ({"title": "x", "position": 5}, "/position"),
        ({"title": "x", "position": "a" * 201}, "/position"),
        ({"title": "x", "series_id": -1}, "/series_id"),
        (SERIES, "/occurrence"),
        ({"title": "x", "user_id": 5}, "/user_id"),
        ({"title": "x", "user_id": "x" * 256}, "/user_id"),
        ("x", ""),
        (None, ""),
        ([], ""),
    ],
    ids=str,
)
def test_an_import_with_one_invalid_task_is_422_and_changes_nothing(alice: Person, task: Any, pointer: str) -> None:
    alice.add("there")
    assert counts(load(alice, {**SERIES, "id": 7, "series_id": 7, "occurrence": 1})) == (1, 0, 0)
    before = exported(alice), alice.get().headers["ETag"]
    response = load(alice, {"id": 1, "title": "changed"}, {**SERIES, "id": 4}, task)
    assert response.status_code == 422, response.text
    assert response.get_json()["errors"][0]["pointer"] == f"/tasks/2{pointer}"
    assert (exported(alice), alice.get().headers["ETag"]) == before
    assert alice.add("next")["id"] == 8


def test_an_import_may_swap_the_occurrences_of_a_series(alice: Person) -> None:
    first, second = ({**SERIES, "id": id, "occurrence": id, "series_id": 1} for id in (1, 2))
    assert counts(load(alice, *own(alice, first, second))) == (2, 0, 0)
    assert counts(load(alice, *own(alice, {**first, "occurrence": 2}, {**second, "occurrence": 1}))) == (0, 2, 0)
    assert [task["occurrence"] for task in exported(alice)["tasks"]] == [2, 1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"tasks": None}, 422),
        ({"tasks": {}}, 422),
        ({"tasks": [], "format": "todoist"}, 422),
        ({"tasks": [], "extra": 1}, 422),
        ([], 422),
        ("junk", 422),
    ],
    ids=str,
)
def test_an_import_of_an_invalid_document_is_422(alice: Person, body: Any, status: int) -> None:
    assert call(alice, "POST", "/import", json=body).status_code == status


def test_an_import_over_16_mib_is_413(alice: Person) -> None:
    body, headers = b'{"tasks": [{"title": "x"}]}', {"Content-Type": "application/json"}
    assert call(alice, "POST", "/import", data=body.ljust(MAX_BODY_BYTES + 1), headers=headers).status_code == 413
    assert call(alice, "POST", "/import", data=b"{", headers=headers).status_code == 400
    assert alice.titles() == []
    assert call(alice, "POST", "/import", data=body.ljust(MAX_BODY_BYTES), headers=headers).status_code == 200


def test_an_import_over_the_quota_is_409_and_changes_nothing(make_app: Callable[..., Flask]) -> None:
    alice = Person(make_app(MAX_TASKS_PER_USER="2").test_client(), "alice")
    alice.add("one")
    response = load(alice, {"title": "two"}, {"title": "three"})
    assert (response.status_code, response.get_json()["code"]) == (409, "quota-exceeded")
    assert alice.titles() == ["one"]
    trashed = {"title": "three", "deleted_at": "2026-01-01T00:00:00.000Z"}
    assert counts(load(alice, *as_stored(alice, {"id": 1, "title": "uno"}), {"title": "two"}, trashed)) == (2, 1, 0)


def test_mallory_cannot_export_import_or_erase_for_alice(alice: Person, mallory: Person) -> None:
    alice.add("hers")
    for method, path in (("GET", "/export"), ("POST", "/import"), ("DELETE", "")):
        assert call(mallory, method, path, of="alice").status_code == 403
    assert exported(mallory)["tasks"] == []
    assert counts(load(mallory, {"id": 1, "title": "his", "user_id": "alice"})) == (1, 0, 0)
    assert (alice.titles(), mallory.titles()) == (["hers"], ["his"])


def test_tasks_imported_from_another_users_export_belong_to_the_importing_user(
    alice_with_varied_tasks: Person, mallory: Person
) -> None:
    assert counts(call(mallory, "POST", "/import", json=exported(alice_with_varied_tasks))) == (8, 0, 0)
    assert {task["user_id"] for task in exported(mallory)["tasks"]} == {"mallory"}


# CSV


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")


def test_no_cell_of_a_csv_export_is_a_formula_and_no_text_is_lost(alice: Person) -> None:
    for start in FORMULA_STARTS:
        alice.add(
            f"{start}cmd|' /C calc'!A0".strip(),
            description=f'{start}HYPERLINK("x","y")\nsecond, "line"',
            tags=[f"{start}1".strip(), "b,c"],
        )
    load(alice, {"title": "trash", "deleted_at": "2026-01-01T00:00:00.000Z"})
    response = call(alice, "GET", "/export?format=csv")
    assert response.content_type == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="tasks.csv"'
    assert response.data.startswith(b"\xef\xbb\xbfid,title,")
    lines = list(csv.DictReader(io.StringIO(response.data.decode("utf-8-sig"), newline=""), strict=True))
    assert len(lines) == len(FORMULA_STARTS)
    for line, task in zip(lines, exported(alice)["tasks"], strict=False):
        assert None not in line
        assert None not in line.values()
        assert not any(cell.startswith((*FORMULA_STARTS, "\r")) for cell in line.values())
        for name in ("title", "description"):
            assert line[name].removeprefix("'") == task[name]
        assert split_tags(unescape(line["tags"])) == task["tags"]
        assert (line["id"], line["completed"], line["due_date"]) == (str(task["id"]), "false", "")


# iCalendar


def content_lines(raw: bytes) -> list[str]:
    """Return the unfolded content lines; check CRLF, at most 75 octets and whole characters (RFC 5545, section 3.1)."""
    assert raw.endswith(b"\r\n")
    for line in raw[:-2].split(b"\r\n"):
        assert len(line) <= 75, line
        assert b"\n" not in line
        assert b"\r" not in line
        line.decode()
    unfolded = raw[:-2].replace(b"\r\n ", b"").decode().split("\r\n")
    assert all(re.match(r"[A-Z-]+[;:]", line) for line in unfolded)
    return unfolded


def test_a_calendar_export_is_read_alike_by_icalendar_and_vobject(alice_with_varied_tasks: Person) -> None:
    alice_with_varied_tasks.add(
        "Semi; comma, back\\slash \u2028 " + "ü🙂" * 40, description="a\nb;c,d\\n", tags=["x,y", "z;z"]
    )
    alice_with_varied_tasks.add(
        "Weekly",
        due_date="2026-11-20",
        due_time="23:30",
        time_zone="America/New_York",
        recurrence="FREQ=WEEKLY;BYDAY=FR;UNTIL=20270101",
    )
    alice_with_varied_tasks.add(
        "Floating", due_date="2026-11-20", due_time="08:00", recurrence="FREQ=DAILY;UNTIL=20261231"
    )
    alice_with_varied_tasks.add(
        "Same zone", due_date="2026-11-20", due_time="08:00", time_zone="America/New_York", recurrence="FREQ=DAILY"
    )
    response = call(alice_with_varied_tasks, "GET", "/export?format=ics")
    assert response.content_type == "text/calendar; charset=utf-8"
    lines = content_lines(response.data)
    assert lines[:3] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//taskapi//EN"]
    assert lines[-1] == "END:VCALENDAR"
    assert [line for line in lines if line.startswith("TZID:")] == ["TZID:Europe/Berlin", "TZID:America/New_York"], (
        "each time zone has one VTIMEZONE"
    )
    calendar = icalendar.Calendar.from_ical(response.data)
    todos = {str(todo["uid"]): todo for todo in calendar.walk("VTODO")}
    others = {todo.uid.value: todo for todo in vobject.readOne(response.data.decode()).vtodo_list}
    tasks = {f"alice-{task['id']}@taskapi": task for task in alice_with_varied_tasks.get().get_json()}
    assert todos.keys() == others.keys() == tasks.keys(), "the live tasks and none of the trash"
    for title, task in tasks.items():
        assert str(todos[title]["summary"]) == others[title].summary.value == task["title"]
        assert str(todos[title].get("description", "")) == (task["description"] or "")
        assert todos[title]["status"] == ("COMPLETED" if task["completed"] else "NEEDS-ACTION")
        categories = todos[title].get("categories")
        assert [str(tag) for tag in categories.cats] == task["tags"] if categories else task["tags"] == []
    assert others["alice-2@taskapi"].due.value == todos["alice-2@taskapi"]["due"].dt == date(2026, 12, 24)
    assert others["alice-3@taskapi"].due.value == datetime(2026, 12, 24, 9, 30)  # noqa: DTZ001  floating time
    assert others["alice-4@taskapi"].due.value == todos["alice-4@taskapi"]["due"].dt
    assert todos["alice-4@taskapi"]["due"].dt == datetime(2026, 12, 24, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"recurrence": "FREQ=DAILY"},
            ["DTSTART;VALUE=DATE:20261120", "DUE;VALUE=DATE:20261120", "RRULE:FREQ=DAILY"],
        ),
        (
            {"recurrence": "FREQ=DAILY;UNTIL=20261231"},
            ["DTSTART;VALUE=DATE:20261120", "DUE;VALUE=DATE:20261120", "RRULE:FREQ=DAILY;UNTIL=20261231"],
        ),
        (
            {"recurrence": "FREQ=DAILY;UNTIL=20261231", "due_time": "08:00"},
            ["DTSTART:20261120T080000", "DUE:20261120T080000", "RRULE:FREQ=DAILY;UNTIL=20261231T235959"],
        ),
        (
            {"recurrence": "FREQ=WEEKLY;UNTIL=20261231;BYDAY=FR", "due_time": "23:30", "time_zone": "America/New_York"},
            [
                "DTSTART;TZID=America/New_York:20261120T233000",
                "DUE;TZID=America/New_York:20261120T233000",
                "RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20270101T045959Z",
            ],
        ),
        (
            {"recurrence": "FREQ=DAILY;COUNT=5", "series_id": 1, "occurrence": 4},
            ["DTSTART;VALUE=DATE:20261120", "DUE;VALUE=DATE:20261120", "RRULE:FREQ=DAILY;COUNT=2"],
        ),
        ({"recurrence": "FREQ=DAILY", "completed": True}, ["DUE;VALUE=DATE:20261120"]),
        ({"due_time": "08:00", "time_zone": "Europe/Berlin"}, ["DUE;TZID=Europe/Berlin:20261120T080000"]),
        ({}, ["DUE;VALUE=DATE:20261120"]),
    ],
    ids=str,
)
def test_a_due_date_is_exported_as_due_and_with_a_rule_as_dtstart_too_of_the_right_type(
    alice: Person, members: dict[str, Any], expected: list[str]
) -> None:
    assert load(alice, {"title": "x", "due_date": "2026-11-20", **members}).status_code == 200
    lines = content_lines(call(alice, "GET", "/export?format=ics").data)
    todo = lines[lines.index("BEGIN:VTODO") :]
    assert sorted(line for line in todo if line.startswith(("DUE", "DTSTART", "RRULE"))) == sorted(expected)


@pytest.mark.parametrize("query", ["?format=xml", "?format=", "?format=json&format=csv", "?trash=true"])
def test_an_export_in_an_unknown_format_is_400(alice: Person, query: str) -> None:
    assert call(alice, "GET", f"/export{query}").status_code == 400


# Any size


def fill(person: Person, number: int) -> None:
    """Insert this number of tasks directly into the table."""
    person.add("template", description="x" * 200, due_date="2026-12-24")
    series = "WITH RECURSIVE n(id) AS (SELECT 2 UNION ALL SELECT id + 1 FROM n WHERE id < :number)"
    columns = "revision, title, description, completed, due_date, folded_title, created_at, updated_at"
    statement = f"{series} SELECT user_id, n.id, {columns} FROM tasks, n WHERE user_id = :user AND tasks.id = 1"
    statement = f"INSERT INTO tasks (user_id, id, {columns}) {statement}"
    with superuser_engine().begin() as connection:
        connection.execute(text(statement), {"number": number, "user": person.id})


@pytest.mark.parametrize(("number", "format"), [(10_000, "json"), (1_001, "csv"), (1_000, "ics")])
def test_an_export_of_any_size_is_streamed_in_chunks(
    app: Flask, statements: Statements, number: int, format: str
) -> None:
    client = FlaskClient(
        app, app.response_class
    )  # Flask's own client: the one that validates against OpenAPI would read the whole body
    alice = Person(app.test_client(), "alice")
    with app.app_context():
        fill(alice, number)
    headers = {"Authorization": f"Bearer {alice.token}"}
    client.get("/api/alice/export?format=" + format, headers=headers, buffered=False).close()
    statements.clear()
    tracemalloc.start()
    try:
        response = client.get("/api/alice/export?format=" + format, headers=headers, buffered=False)
        assert len(statements) <= 2, "of tasks, nothing is read before the client takes the first chunk"
        total_bytes = chunks = 0
        for chunk in response.iter_encoded():
            total_bytes, chunks = total_bytes + len(chunk), chunks + 1
            assert len(chunk) < 10_000, "a chunk is one task"
            if chunks == min(number, 6_000):  # 20 MB by now if the chunks were kept; tracing the rest would take long
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
    finally:
        tracemalloc.stop()
    response.close()
    assert total_bytes > number * 100
    assert peak < 8 * 1024 * 1024
    assert len(statements) == 1 + math.ceil(number / EXPORT_CHUNK_ROWS), "the number of tasks, and the chunks"


# Erasure


def test_an_erasure_removes_all_data_of_one_user_and_none_of_another(
    app: Flask, alice_with_varied_tasks: Person, mallory: Person
) -> None:
    mallory.post("", json={"title": "his"}, headers={"Idempotency-Key": "k"})
    mallory.add("his trash")
    mallory.delete("/2")
    mallory.add("his tombstone")
    mallory.delete("/3?permanent=true")
    mallory_rows = rows(app)
    alice_with_varied_tasks.post("", json={"title": "keyed"}, headers={"Idempotency-Key": "k"})
    assert any("alice" in row for table in rows(app).values() for row in table)
    mallory_rows = {name: [row for row in table if "mallory" in row] for name, table in rows(app).items()}
    # Ended sessions remain, so that an erasure does not make a revoked session valid again.
    assert all(mallory_rows[name] for name in set(mallory_rows) - {"ended_sessions", "seen_notices"}), (
        "mallory has rows in every other table"
    )
    for _ in range(2):
        response = call(alice_with_varied_tasks, "DELETE", "")
        assert (response.status_code, response.data) == (204, b"")
        remaining = rows(app)
        (counters,) = set(remaining["users"]) - set(mallory_rows["users"])
        assert counters[0] == "alice"
        assert remaining == {**mallory_rows, "users": remaining["users"]}
    assert alice_with_varied_tasks.titles() == alice_with_varied_tasks.titles("?trash=true") == []


def test_etags_cursors_sync_tokens_and_keys_from_before_an_erasure_are_invalid(alice: Person) -> None:
    for title in "abc":
        alice.add(title)
    keyed = {"Idempotency-Key": "k"}
    alice.post("", json={"title": "d"}, headers=keyed)
    listed = alice.get("?limit=2")
    cursor = re.search("cursor=([^&>]+)", listed.headers["Link"])
    assert cursor is not None
    feed = call(alice, "GET", "/changes")
    old_tag, token = listed.headers["ETag"], feed.get_json()["next"]
    call(alice, "DELETE", "")

    def check_old_state_is_refused() -> None:
        """Check that the old ETag never matches, the cursor is 400 and the sync token 410."""
        assert alice.get("", headers={"If-None-Match": old_tag}).status_code == 200
        assert call(alice, "GET", "/changes", headers={"If-None-Match": old_tag}).status_code == 200
        assert alice.get(f"?limit=2&cursor={cursor[1]}").status_code == 400
        gone = call(alice, "GET", f"/changes?since={token}")
        assert gone.status_code == 410
        assert gone.headers["Link"] == '</api/alice/changes>; rel="start"'

    check_old_state_is_refused()
    again = alice.post("", json={"title": "d"}, headers=keyed)
    assert (again.status_code, again.get_json()["id"]) == (201, 5)
    assert "Idempotency-Replayed" not in again.headers
    for title in "xyz":
        alice.add(title)
    check_old_state_is_refused()
    assert [task["id"] for task in alice.get().get_json()] == [8, 7, 6, 5]


def test_a_query_parameter_on_an_erasure_is_400(alice: Person) -> None:
    alice.add("x")
    assert call(alice, "DELETE", "?force=true").status_code == 400
    assert alice.titles() == ["x"]
