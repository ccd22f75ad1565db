"""Limits of what an import makes the service read: existing tasks with their text, and tasks of the file."""

from __future__ import annotations

from typing import Any

import pytest

from taskapi.http import strict_json
from taskapi.tasks.transfer import import_csv, import_icalendar, import_plan
from taskapi.tasks.transfer.schemas import MAX_IMPORTED
from tests.conftest import Person, Statements
from tests.imports import as_stored
from tests.slices import Slices


def test_an_import_that_names_tasks_with_too_much_text_is_422_and_does_not_read_the_text(
    alice: Person, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [alice.add("x", description="\u30bf" * 1000)["id"] for _ in range(3)]
    monkeypatch.setattr(import_plan, "MAX_EXISTING_BYTES", 7000)
    tasks = as_stored(alice, *({"id": id, "title": "y"} for id in ids))
    statements.clear()
    refused = alice.data("POST", "/import", json={"tasks": tasks})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.get_json()["errors"]] == ["/tasks"]
    assert not any("tasks.description," in sql for sql, _ in statements.sent)
    assert alice.titles() == ["x"] * 3
    assert alice.data("POST", "/import", json={"tasks": tasks[:1]}).status_code == 200


@pytest.mark.parametrize(
    ("media_type", "start", "task", "read"),
    [
        ("application/json", '{"tasks":[{}', ",{}", (strict_json._Document, "parse_value")),
        ("text/csv", "title\n", "x\n", (import_csv, "_member")),
        ("text/calendar", "BEGIN:VCALENDAR\n", "BEGIN:VTODO\nEND:VTODO\n", (import_icalendar._TodoReader, "members")),
    ],
)
def test_a_body_is_not_read_beyond_the_maximum_of_tasks(
    alice: Person, slices: Slices, media_type: str, start: str, task: str, read: tuple[Any, str]
) -> None:
    slices.count(*read)
    refused = alice.data("POST", "/import", data=start + task * 4 * MAX_IMPORTED, content_type=media_type)
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["detail"] == f"Must have 0 to {MAX_IMPORTED} items."
    assert 0 < slices.total < MAX_IMPORTED + 100


def test_an_import_with_a_malformed_task_before_many_others_is_refused_as_malformed(alice: Person) -> None:
    body = '{"tasks":[{"title":tru}' + ',{"title":"many others"}' * 12_000 + "]}"
    refused = alice.data("POST", "/import", data=body, content_type="application/json")
    assert refused.status_code == 400
    assert refused.get_json()["detail"].startswith("The body is not strict JSON")
