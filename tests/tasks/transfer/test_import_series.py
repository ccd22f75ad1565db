"""Series positions (series_id, occurrence) of imported tasks: a duplicate is 422, and tasks can be completed."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from taskapi.concurrency.cooperative import LET_OTHERS_RUN
from taskapi.tasks.transfer.import_plan import CHUNK
from taskapi.tasks.transfer.import_statements import MAX_IMPORTED_ID
from tests.conftest import Person, Statements
from tests.imports import own

DAILY = {"title": "x", "due_date": "2900-01-01", "recurrence": "FREQ=DAILY"}

Document = list[dict[str, Any]]


def load(person: Person, *tasks: dict[str, Any]) -> TestResponse:
    """Import tasks of one's own file: those with the same id are the same task."""
    return person.data("POST", "/import", json={"tasks": own(person, *tasks)})


def load_ok(person: Person, *tasks: dict[str, Any]) -> None:
    """Import tasks; the request must succeed."""
    response = load(person, *tasks)
    assert response.status_code == 200, response.text


def positions(person: Person) -> dict[int, tuple[int | None, int | None]]:
    """Return (series_id, occurrence) of each exported task by id."""
    tasks = person.data("GET", "/export").get_json(force=True)["tasks"]
    return {task["id"]: (task["series_id"], task["occurrence"]) for task in tasks}


def series_task(id: int, series: int, occurrence: int, **members: Any) -> dict[str, Any]:
    """Return a daily task for an import, with its id and its position in a series."""
    return {**DAILY, "id": id, "series_id": series, "occurrence": occurrence, **members}


TRASHED = {"deleted_at": "2026-01-01T00:00:00.000Z"}

COLLISIONS: dict[str, tuple[Document, Document, str]] = {
    "two tasks of the file": ([], [series_task(1, 1, 1), series_task(2, 1, 1)], "/tasks/1/occurrence"),
    "only the occurrence is mentioned": (
        [series_task(1, 1, 1), series_task(2, 1, 2)],
        [{"id": 2, "title": "x", "occurrence": 1}],
        "/tasks/0/occurrence",
    ),
    "only the series is mentioned": (
        [series_task(1, 1, 1), series_task(2, 2, 1)],
        [{"id": 2, "title": "x", "series_id": 1}],
        "/tasks/0/series_id",
    ),
    "a task of the file that keeps its position unmentioned": (
        [series_task(1, 1, 1)],
        [{"id": 1, "title": "y"}, series_task(2, 1, 1)],
        "/tasks/1/occurrence",
    ),
    "a task of the file that keeps its position unmentioned, second": (
        [series_task(1, 1, 1)],
        [series_task(2, 1, 1), {"id": 1, "title": "y"}],
        "/tasks/1",
    ),
}


@pytest.mark.parametrize(("before", "document", "pointer"), COLLISIONS.values(), ids=COLLISIONS)
def test_an_import_of_two_tasks_at_one_series_position_is_422_and_changes_nothing(
    alice: Person, before: Document, document: Document, pointer: str
) -> None:
    load_ok(alice, *before)
    state = positions(alice), alice.get().headers["ETag"]
    response = load(alice, *document)
    assert response.status_code == 422, response.text
    assert [fault["pointer"] for fault in response.get_json()["errors"]] == [pointer]
    assert (positions(alice), alice.get().headers["ETag"]) == state


POSITIONS_OF_OTHERS: dict[str, tuple[Document, Document]] = {
    "a task that stays": ([series_task(1, 1, 1)], [series_task(2, 1, 1)]),
    "a task that stays in the trash": ([series_task(1, 1, 1, **TRASHED)], [series_task(2, 1, 1)]),
    "a task without an id": ([series_task(1, 1, 1)], [{**DAILY, "series_id": 1, "occurrence": 1}]),
}


@pytest.mark.parametrize(("before", "document"), POSITIONS_OF_OTHERS.values(), ids=POSITIONS_OF_OTHERS)
def test_a_new_task_whose_series_position_a_stored_task_has_gets_a_series_of_its_own(
    alice: Person, before: Document, document: Document
) -> None:
    load_ok(alice, *before)
    load_ok(alice, *document)
    placed = positions(alice)
    assert placed[1] == (1, 1), "the stored task is unchanged"
    series, occurrence = placed[2]
    assert occurrence == 1
    assert series not in (None, 1, 2)
    assert alice.add("next")["id"] > series, "no task gets the number of the series"


def test_a_series_position_that_the_same_file_clears_may_be_used(alice: Person) -> None:
    load_ok(alice, series_task(1, 1, 1), series_task(2, 1, 2))
    load_ok(
        alice, {"id": 1, "title": "x", "series_id": None, "occurrence": None}, {"id": 2, "title": "x", "occurrence": 1}
    )
    assert positions(alice) == {1: (None, None), 2: (1, 1)}


def test_the_series_position_of_a_permanently_deleted_task_may_be_used(alice: Person) -> None:
    load_ok(alice, series_task(1, 1, 1))
    assert alice.delete("/1?permanent=true").status_code == 204
    load_ok(alice, series_task(2, 1, 1))
    assert positions(alice) == {2: (1, 1)}


OCCUPIED_POSITIONS: dict[str, Document] = {
    "the position of the first task": [{**DAILY, "id": 1}, series_task(2, 1, 1)],
    "the position of the second task": [{**DAILY, "id": 1}, series_task(2, 1, 2)],
    "both": [{**DAILY, "id": 1}, series_task(2, 1, 1), series_task(3, 1, 2)],
    "a series without an occurrence": [{**DAILY, "id": 1, "series_id": 2}, series_task(2, 2, 1)],
    "an occurrence without a series": [{**DAILY, "id": 1, "occurrence": 4}, series_task(2, 1, 4), series_task(3, 1, 5)],
    "the successor is there, and not linked": [series_task(1, 1, 1), series_task(2, 1, 2)],
    "the task in the trash": [{**DAILY, "id": 1}, series_task(2, 1, 1, **TRASHED)],
}


@pytest.mark.parametrize("document", OCCUPIED_POSITIONS.values(), ids=OCCUPIED_POSITIONS)
@pytest.mark.parametrize("complete_by", ["complete", "toggle", "put", "batch"])
def test_a_recurring_task_can_be_completed_if_imported_tasks_occupy_its_series_positions(
    alice: Person, document: Document, complete_by: str
) -> None:
    load_ok(alice, *document)
    operation = {"op": "complete", "id": 1, "completed": True}
    response = {
        "complete": lambda: alice.patch("/1/complete", json={"completed": True}),
        "toggle": lambda: alice.patch("/1/complete"),
        "put": lambda: alice.put("/1", json={"completed": True}),
        "batch": lambda: alice.post("/batch", json={"operations": [operation]}),
    }[complete_by]()
    assert response.status_code == 200, response.text
    task = alice.get("/1").get_json()
    assert task["completed"]
    if task["next_task_id"] is None:
        assert {(1, 2), (1, 5)} & {*positions(alice).values()}, "the next series position is occupied"
    else:
        assert alice.get(f"/{task['next_task_id']}").get_json()["due_date"] == "2900-01-02"


def test_a_new_task_never_joins_the_series_of_an_imported_task(alice: Person) -> None:
    """The series id is the id of its first task, which was deleted in the account of the export and is not in the file."""
    load_ok(alice, series_task(3, 5, 2))
    assert alice.add(**DAILY)["id"] == 6
    assert alice.patch("/6/complete").get_json()["next_task_id"] == 7


def test_a_series_id_over_the_limit_is_replaced(alice: Person) -> None:
    load_ok(alice, series_task(1, MAX_IMPORTED_ID + 1, 1))
    assert alice.get("/1").get_json()["series_id"] == 2
    load_ok(alice, series_task(4, MAX_IMPORTED_ID, 1))
    assert alice.get("/4").get_json()["series_id"] == MAX_IMPORTED_ID


# Random imports and requests after them


ids = st.integers(1, 5)
numbers = st.none() | ids
members = st.fixed_dictionaries(
    {"title": st.just("x")},
    optional={
        "due_date": st.just("2900-01-01"),
        "recurrence": st.sampled_from(["FREQ=DAILY", "FREQ=DAILY;COUNT=2", "FREQ=WEEKLY;UNTIL=99991231", None]),
        "id": ids,
        "series_id": numbers,
        "occurrence": numbers,
        "next_task_id": numbers,
        "completed": st.booleans(),
        "completed_at": st.none() | st.just("2026-01-01T00:00:00.000Z"),
        "deleted_at": st.none() | st.just("2026-01-01T00:00:00.000Z"),
        "position": st.sampled_from(["a1", "a2", "?"]),
    },
)
documents = st.lists(members, max_size=5, unique_by=lambda task: task.get("id", id(task)))
ACTIONS = ("complete", "reopen", "toggle", "put", "batch", "delete", "restore", "destroy", "move", "import")


def act(person: Person, action: str, id: int, document: Document) -> TestResponse:
    """Send the request of a named action on a task; `document` is for the action `import`."""
    operations = [{"op": "complete", "id": id, "completed": flag} for flag in (True, False, True)]
    if action == "complete":
        return person.patch(f"/{id}/complete", json={"completed": True})
    if action == "reopen":
        return person.patch(f"/{id}/complete", json={"completed": False})
    if action == "toggle":
        return person.patch(f"/{id}/complete")
    if action == "put":
        return person.put(f"/{id}", json={"completed": True, "due_date": "2900-01-05", "recurrence": "FREQ=DAILY"})
    if action == "batch":
        return person.post("/batch", json={"operations": operations})
    if action == "delete":
        return person.delete(f"/{id}")
    if action == "restore":
        return person.post(f"/{id}/restore")
    if action == "destroy":
        return person.delete(f"/{id}?permanent=true")
    if action == "move":
        return person.post(f"/{id}/move", json={"before": None})
    return load(person, *document)


@given(
    st.lists(documents, min_size=1, max_size=2),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 8)), max_size=12),
)
@example([[{**DAILY, "id": 1}, series_task(2, 1, 1)]], [("complete", 1), ("reopen", 1), ("complete", 1)])
@example([[series_task(1, 1, 1), series_task(2, 2, 1)], [{"id": 2, "title": "x", "series_id": 1}]], [("complete", 2)])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_import_makes_a_later_request_fail(
    alice: Person, files: list[Document], actions: list[tuple[str, int]]
) -> None:
    assert alice.data("DELETE").status_code == 204
    for document in files:
        assert load(alice, *document).status_code in (200, 422)
    for action, id in actions:
        assert act(alice, action, id, files[-1]).status_code in (200, 204, 404, 422), (action, id)
    for path in ("/export", "/export?format=csv", "/export?format=ics", "/stats", "/changes"):
        assert alice.data("GET", path).data
    # Every remaining open task can be completed, reopened and completed again.
    for task in alice.get("?status=pending").get_json():
        for completed in (True, False, True):
            response = alice.patch(f"/{task['id']}/complete", json={"completed": completed})
            # Reopening a task removes its unchanged next task, which may be one of this list.
            assert response.status_code in (200, 404), response.text
    document = alice.data("GET", "/export").get_json(force=True)
    assert alice.data("POST", "/import", json=document).get_json()["unchanged"] == len(document["tasks"])


# The number of statements


def test_an_import_sends_its_statements_once_per_chunk_and_not_per_task(
    app: Flask, alice: Person, statements: Statements
) -> None:
    document = [{**DAILY, "id": id} for id in range(1, 3 * CHUNK + 1)]
    load_ok(alice, *document)
    statements.clear()
    load_ok(alice, *[{**task, "title": "y"} for task in document])
    assert len(statements) <= 4 * 3
    texts = {sql for sql, _ in statements.sent if "tasks" in sql}
    statements.clear()
    load_ok(alice, *[{**task, "title": "z"} for task in document[:7]])
    assert {sql for sql, _ in statements.sent if "tasks" in sql} == texts, (
        "the SQL text does not depend on the number of tasks"
    )
    assert set(alice.titles()) == {"y", "z"}


def test_an_import_yields_to_other_requests_in_each_chunk(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    yields: list[float] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
    document = [{**DAILY, "id": id} for id in range(1, 3 * CHUNK + 1)]
    for title, min_yields in (("x", 4), ("y", 5)):  # yields of a chunk: read, merge, compare, insert or update
        yields.clear()
        load_ok(alice, *[{**task, "title": title} for task in document])
        assert yields.count(LET_OTHERS_RUN) >= 3 * min_yields
