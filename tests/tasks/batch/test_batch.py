"""POST /tasks/batch: several changes in one request, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from taskapi.concurrency.cooperative import LET_OTHERS_RUN
from taskapi.tasks.batch import pipelines
from taskapi.tasks.batch.queries import MAX_SPANS
from taskapi.tasks.batch.schemas import MAX_OPERATIONS
from taskapi.tasks.recurrence import occurrences
from taskapi.tasks.recurrence.occurrences import search_budget
from tests.conftest import Person
from tests.slices import Slices
from tests.tasks.recurrence.test_rrule import VALID_RULES

LIMIT = 1024 * 1024


def batch(person: Person, *operations: Any) -> TestResponse:
    """Send a batch of operations."""
    return person.post("/batch", json={"operations": operations})


def results(person: Person, *operations: Any) -> list[Any]:
    """Send a batch that must succeed and return its results."""
    response = batch(person, *operations)
    assert response.status_code == 200, response.text
    assert set(response.get_json()) == {"results"}
    done: list[Any] = response.get_json()["results"]
    return done


def everything(person: Person) -> tuple[Any, ...]:
    """Return the live tasks, the trash and the ETag of the list, which contains the revision."""
    live, trash = person.get("?sort=position"), person.get("?trash=true")
    return live.get_json(), trash.get_json(), live.headers["ETag"]


@pytest.fixture
def alice_with_3_tasks(alice: Person) -> Person:
    """Alice with tasks 1 and 2, and task 3 in the trash."""
    for title in ("one", "two", "three"):
        alice.add(title)
    alice.delete("/3")
    return alice


def test_each_operation_returns_the_task_as_it_is_after_it(alice_with_3_tasks: Person) -> None:
    done = results(
        alice_with_3_tasks,
        {"op": "create", "task": {"title": "four", "tags": ["new"]}},
        {"op": "update", "id": 1, "task": {"title": "uno"}},
        {"op": "complete", "id": 2, "completed": True},
        {"op": "restore", "id": 3},
        {"op": "move", "id": 4, "before": 1},
        {"op": "move", "id": 3, "after": None},
        {"op": "complete", "id": 2, "completed": False},
        {"op": "delete", "id": 2},
    )
    assert [task and task["id"] for task in done] == [4, 1, 2, 3, 4, 3, 2, None]
    assert (done[1]["title"], done[2]["completed"], done[6]["completed"]) == ("uno", True, False)
    assert alice_with_3_tasks.titles("?sort=position") == ["three", "four", "uno"]
    assert alice_with_3_tasks.get("/4").get_json() == done[4]
    assert alice_with_3_tasks.titles("?trash=true") == ["two"]


def test_an_operation_sees_the_changes_of_earlier_ones(alice: Person) -> None:
    done = results(
        alice,
        {"op": "create", "task": {"title": "a"}},
        {"op": "update", "id": 1, "task": {"title": "b"}, "version": 1},
        {"op": "delete", "id": 1, "version": 2},
        {"op": "restore", "id": 1, "version": 3},
        {"op": "complete", "id": 1, "completed": True, "version": 4},
    )
    assert done[-1] == alice.get("/1").get_json()
    assert (done[-1]["title"], done[-1]["version"]) == ("b", 5)


def test_operations_without_effect_do_not_increase_the_revision(alice_with_3_tasks: Person) -> None:
    before = everything(alice_with_3_tasks)
    done = results(
        alice_with_3_tasks,
        {"op": "update", "id": 1, "task": {"title": "one"}},
        {"op": "update", "id": 1, "task": {}},
        {"op": "complete", "id": 2, "completed": False},
        {"op": "restore", "id": 2},
        {"op": "move", "id": 2, "after": 1},
        {"op": "move", "id": 1, "after": None},
    )
    assert everything(alice_with_3_tasks) == before
    assert [task["version"] for task in done] == [1, 1, 2, 2, 2, 1]


CREATE = {"op": "create", "task": {"title": "new"}}


@pytest.mark.parametrize(
    ("operation", "status", "pointer"),
    [
        ({"op": "update", "id": 9, "task": {"title": "x"}}, 404, ""),
        ({"op": "update", "id": 3, "task": {"title": "x"}}, 404, ""),
        ({"op": "complete", "id": 9, "completed": True}, 404, ""),
        ({"op": "delete", "id": 3}, 404, ""),
        ({"op": "restore", "id": 9}, 404, ""),
        ({"op": "move", "id": 1, "before": 9}, 404, ""),
        ({"op": "update", "id": 1, "task": {"title": "x"}, "version": 99}, 412, ""),
        ({"op": "complete", "id": 1, "completed": True, "version": 99}, 412, ""),
        ({"op": "delete", "id": 1, "version": 99}, 412, ""),
        ({"op": "restore", "id": 3, "version": 1}, 412, ""),
        ({"op": "move", "id": 1, "before": None, "version": 99}, 412, ""),
        ({"op": "update", "id": 1, "task": {"due_time": "10:00"}}, 422, "/task/due_time"),
        ({"op": "create", "task": {"title": "x", "recurrence": "FREQ=DAILY"}}, 422, "/task/recurrence"),
        (
            {"op": "create", "task": {"title": "x", "due_time": None, "time_zone": "UTC"}},
            422,
            "/task/time_zone",
        ),
    ],
    ids=str,
)
def test_a_failed_operation_rolls_back_the_whole_batch(
    alice_with_3_tasks: Person, operation: dict[str, Any], status: int, pointer: str
) -> None:
    before = everything(alice_with_3_tasks)
    response = batch(
        alice_with_3_tasks, CREATE, {"op": "delete", "id": 2}, {"op": "move", "id": 1, "after": 4}, operation, CREATE
    )
    assert response.status_code == status
    (fault,) = response.get_json()["errors"]
    assert fault["pointer"] == f"/operations/3{pointer}"
    assert everything(alice_with_3_tasks) == before
    assert alice_with_3_tasks.add("next")["id"] == 4, "the ids of a rolled-back batch are free again"


def test_a_412_contains_the_current_task(alice_with_3_tasks: Person) -> None:
    response = batch(alice_with_3_tasks, {"op": "delete", "id": 1, "version": 7})
    assert response.get_json()["current"] == alice_with_3_tasks.get("/1").get_json()
    assert response.get_json()["errors"][0]["code"] == "precondition-failed"


def test_a_batch_over_the_quota_is_409_and_creates_nothing(make_app: Callable[..., Flask]) -> None:
    alice = Person(make_app(MAX_TASKS_PER_USER="3").test_client(), "alice")
    alice.add("one")
    response = batch(alice, CREATE, CREATE, CREATE)
    assert (response.status_code, response.get_json()["code"]) == (409, "quota-exceeded")
    assert response.get_json()["errors"][0]["pointer"] == "/operations/2"
    assert alice.titles() == ["one"]
    assert batch(alice, CREATE, CREATE, {"op": "delete", "id": 1}, CREATE).status_code == 200


@pytest.mark.parametrize(
    ("operation", "pointer"),
    [
        ({}, "/op"),
        ({"op": "destroy", "id": 1}, "/op"),
        ({"op": None, "id": 1}, "/op"),
        ({"op": "create"}, "/task"),
        ({"op": "create", "id": 1, "task": {"title": "x"}}, "/id"),
        ({"op": "create", "version": 1, "task": {"title": "x"}}, "/version"),
        ({"op": "create", "task": {}}, "/task/title"),
        ({"op": "create", "task": "title"}, "/task"),
        ({"op": "create", "task": None}, "/task"),
        ({"op": "create", "task": ["title"]}, "/task"),
        ({"op": "create", "task": {"title": "x", "titel": "y"}}, "/task/titel"),
        ({"op": "create", "task": {"title": "x", "tags": ["a", 5]}}, "/task/tags/1"),
        ({"op": "update", "id": 1}, "/task"),
        ({"op": "update", "task": {"title": "x"}}, "/id"),
        ({"op": "update", "id": 1, "task": {"title": ""}}, "/task/title"),
        ({"op": "update", "id": 1, "task": {"title": "x"}, "completed": True}, "/completed"),
        ({"op": "complete", "id": 1}, "/completed"),
        ({"op": "complete", "id": 1, "completed": "yes"}, "/completed"),
        ({"op": "complete", "id": 1, "completed": None}, "/completed"),
        ({"op": "delete"}, "/id"),
        ({"op": "delete", "id": "1"}, "/id"),
        ({"op": "delete", "id": 0}, "/id"),
        ({"op": "delete", "id": 1.0}, "/id"),
        ({"op": "delete", "id": True}, "/id"),
        ({"op": "delete", "id": 10**18}, "/id"),
        ({"op": "delete", "id": 1, "version": "1"}, "/version"),
        ({"op": "delete", "id": 1, "version": None}, "/version"),
        ({"op": "delete", "id": 1, "permanent": True}, "/permanent"),
        ({"op": "restore", "id": 1, "task": {}}, "/task"),
        ({"op": "move", "id": 1}, ""),
        ({"op": "move", "id": 1, "before": 2, "after": 2}, ""),
        ({"op": "move", "id": 1, "before": "2"}, "/before"),
        ({"op": "delete", "id": 1, "before": 2}, "/before"),
        ("delete", ""),
        (None, ""),
        ([], ""),
    ],
    ids=str,
)
def test_an_invalid_operation_is_422_with_a_json_pointer(
    alice_with_3_tasks: Person, operation: Any, pointer: str
) -> None:
    before = everything(alice_with_3_tasks)
    response = batch(alice_with_3_tasks, CREATE, operation)
    assert response.status_code == 422, response.text
    assert response.get_json()["errors"][0]["pointer"] == f"/operations/1{pointer}"
    assert everything(alice_with_3_tasks) == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/operations"),
        ({"operations": []}, "/operations"),
        ({"operations": None}, "/operations"),
        ({"operations": {}}, "/operations"),
        ({"operations": [CREATE], "atomic": False}, "/atomic"),
        ([CREATE], ""),
    ],
    ids=str,
)
def test_a_batch_that_is_not_an_object_with_operations_is_422(alice: Person, body: Any, pointer: str) -> None:
    response = alice.post("/batch", json=body)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["pointer"] == pointer


def test_a_batch_of_100_operations_is_executed_and_one_of_101_is_422(alice: Person) -> None:
    response = batch(alice, *[CREATE] * 101)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["pointer"] == "/operations"
    assert alice.titles() == []
    assert [task["id"] for task in results(alice, *[CREATE] * 100)] == list(range(1, 101))


def test_a_batch_over_1_mib_is_413(alice: Person) -> None:
    body = json.dumps({"operations": [CREATE]}).encode()
    headers = {"Content-Type": "application/json"}
    assert alice.post("/batch", data=body.ljust(LIMIT + 1), headers=headers).status_code == 413
    assert alice.titles() == []
    assert alice.post("/batch", data=body.ljust(LIMIT), headers=headers).status_code == 200
    assert alice.post("", data=b'{"title": "x"}'.ljust(LIMIT), headers=headers).status_code == 413


@pytest.mark.parametrize("query", ["?dry=1", "?limit=5"])
def test_a_query_parameter_on_a_batch_is_400(alice: Person, query: str) -> None:
    assert alice.post(f"/batch{query}", json={"operations": [CREATE]}).status_code == 400
    assert alice.titles() == []


def test_a_batch_can_complete_a_recurring_task_and_the_next_ones_of_its_series(alice: Person) -> None:
    alice.add("daily", due_date="2900-01-01", recurrence="FREQ=DAILY;COUNT=3")
    done = results(
        alice,
        *({"op": "complete", "id": id, "completed": True} for id in (1, 2, 3)),
        {"op": "move", "id": 1, "after": 3},
    )
    assert [task["next_task_id"] for task in done[:3]] == [2, 3, None]
    assert [task["due_date"] for task in done[:3]] == ["2900-01-01", "2900-01-02", "2900-01-03"]


def test_mallory_cannot_send_a_batch_for_alice_or_change_her_tasks(alice: Person, mallory: Person) -> None:
    alice.add("hers")
    assert mallory.post("/batch", of="alice", json={"operations": [{"op": "delete", "id": 1}]}).status_code == 403
    assert batch(mallory, CREATE, {"op": "delete", "id": 1}, {"op": "restore", "id": 1}).status_code == 200
    assert alice.titles() == ["hers"]


# CPU time

EXPENSIVE_RULE = "FREQ=DAILY;INTERVAL=7;BYDAY=MO;COUNT=9"
"""A rule without a matching day for a task due on a Tuesday: the search examines the months of a century."""


def create_recurring(person: Person, number: int, rule: str) -> None:
    """Create tasks due on December 1, 2026 with this recurrence rule."""
    task = {"title": "x", "due_date": "2026-12-01", "recurrence": rule}
    results(person, *[{"op": "create", "task": task}] * number)


def completions(number: int) -> list[dict[str, Any]]:
    """Return operations that complete the tasks 1 to `number`."""
    return [{"op": "complete", "id": id, "completed": True} for id in range(1, number + 1)]


def test_the_next_task_that_a_batch_has_removed_is_not_found_by_its_later_operations(alice: Person) -> None:
    task = {"title": "x", "due_date": "2026-12-01", "recurrence": "FREQ=DAILY"}
    _, first = results(alice, {"op": "create", "task": task}, {"op": "complete", "id": 1, "completed": True})
    response = batch(
        alice,
        {"op": "update", "id": 1, "task": {"title": "changed"}},
        {"op": "complete", "id": 1, "completed": False},
        {"op": "update", "id": first["next_task_id"], "task": {"title": "gone"}},
    )
    (fault,) = response.get_json()["errors"]
    assert (response.status_code, fault["pointer"]) == (404, "/operations/2")


def test_all_recurrence_searches_of_a_batch_share_one_budget(alice: Person) -> None:
    create_recurring(alice, MAX_OPERATIONS, EXPENSIVE_RULE)
    before = everything(alice)
    with search_budget(10**6) as one:
        assert occurrences.next_date(EXPENSIVE_RULE, date(2026, 12, 1), date(2026, 12, 1)) is None
    response = batch(alice, *completions(MAX_OPERATIONS))
    assert response.status_code == 422, response.text
    (fault,) = response.get_json()["errors"]
    assert (fault["pointer"], fault["code"]) == (f"/operations/{MAX_SPANS // one.spent}", "recurrence")
    assert everything(alice) == before
    assert batch(alice, *completions(MAX_SPANS // one.spent)).status_code == 200
    assert alice.patch(f"/{MAX_OPERATIONS}/complete").status_code == 200, (
        "a request for one task has a budget of its own"
    )


def test_an_update_that_exceeds_the_budget_has_a_pointer_to_its_task(alice: Person) -> None:
    create_recurring(alice, MAX_OPERATIONS, EXPENSIVE_RULE)
    operations = [{"op": "update", "id": id, "task": {"completed": True}} for id in range(1, MAX_OPERATIONS + 1)]
    (fault,) = batch(alice, *operations).get_json()["errors"]
    assert fault["pointer"].endswith("/task")


@pytest.mark.parametrize("kept", [kept for _, kept in VALID_RULES.values()], ids=VALID_RULES)
def test_a_batch_of_100_completions_with_a_common_rule_is_within_the_budget(kept: str) -> None:
    due = date(2026, 12, 1)
    with search_budget(MAX_SPANS):
        for _ in range(MAX_OPERATIONS):
            occurrences.next_date(kept, due, due)


def test_a_batch_yields_to_other_requests(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    create_recurring(alice, MAX_OPERATIONS, "FREQ=DAILY")
    yields: list[float] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
    results(alice, *completions(MAX_OPERATIONS))
    assert yields.count(LET_OTHERS_RUN) >= MAX_OPERATIONS / 2, "each creates the next task of its series"


@pytest.mark.parametrize(("length", "most"), [(10, 20), (10_000, 2)])
def test_a_batch_yields_after_fewer_operations_with_long_texts(
    alice: Person, slices: Slices, length: int, most: int
) -> None:
    slices.count(pipelines, "prepare")
    results(alice, *[{"op": "create", "task": {"title": "x", "description": "x" * length}}] * 30)
    assert slices.total == 30
    assert slices.longest <= most
