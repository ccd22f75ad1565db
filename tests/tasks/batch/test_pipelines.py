"""Operations of a batch that are sent together have the same results as operations that are sent one by one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from flask import Flask

from taskapi.database.unit_of_work import UnitOfWork
from taskapi.tasks.batch import pipelines
from tests.conftest import Person
from tests.tasks.batch.test_batch import batch, everything, results

DAILY = {"due_date": "2900-01-01", "recurrence": "FREQ=DAILY;COUNT=3"}

TIMES = {"user_id", "created_at", "updated_at", "completed_at", "deleted_at"}


def random_operation(random: Random) -> dict[str, Any]:
    """Return an operation on one of the first tasks, most of which succeed."""
    id = random.choice([1, 2, 3, 4, 5, 5, 6, 7])
    changes = ({"title": "x"}, {"tags": ["a"]}, {"due_date": "2900-02-01"}, {"completed": True}, {}, {"priority": None})
    kinds: dict[str, dict[str, Any]] = {
        "create": {"task": random.choice([{"title": "new"}, {"title": "new", **DAILY}])},
        "update": {"id": id, "task": random.choice([*changes, {"due_time": "10:00"}, {"recurrence": None}])},
        "complete": {"id": id, "completed": random.choice([True, False])},
        "delete": {"id": id},
        "restore": {"id": id},
        "move": {"id": id, random.choice(["before", "after"]): None},
    }
    op = random.choices([*kinds], weights=[4, 8, 6, 1, 1, 1])[0]
    version = {"version": random.randint(4, 7)} if op in ("update", "delete") and random.random() < 0.1 else {}
    return {"op": op, **kinds[op], **version}


def untimed(row: Any) -> Any:
    """Return a task without the members that differ between two users and two times."""
    return row and {name: value if name not in TIMES else value is None for name, value in row.items()}


@pytest.mark.parametrize("seed", range(25))
def test_a_batch_has_the_results_of_its_operations_one_by_one(
    alice: Person, mallory: Person, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("taskapi.tasks.batch.queries.PIPELINED_OPERATIONS", 5)
    random = Random(seed)
    operations = [random_operation(random) for _ in range(14)]
    for person in (alice, mallory):
        results(person, *[{"op": "create", "task": {"title": str(n), **(DAILY if n > 4 else {})}} for n in range(1, 7)])
        person.delete("/6")
    before, expected, failed = everything(alice), [], None
    for index, operation in enumerate(operations):
        response = batch(mallory, operation)
        if response.status_code != 200:
            failed = index, response.status_code, response.get_json()["errors"][0]["pointer"].partition("/0")[2]
            break
        expected += response.get_json()["results"]
    together = batch(alice, *operations)
    if failed:
        (fault,) = together.get_json()["errors"]
        assert together.status_code == failed[1]
        assert fault["pointer"] == f"/operations/{failed[0]}{failed[2]}"
        assert everything(alice) == before
        return
    assert [untimed(row) for row in together.get_json()["results"]] == [untimed(row) for row in expected]
    for mine, theirs in zip(everything(alice)[:2], everything(mallory)[:2], strict=True):
        assert [untimed(row) for row in mine] == [untimed(row) for row in theirs]
    assert alice.revision() == mallory.revision()


KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "create": lambda _number: {"op": "create", "task": {"title": "new"}},
    "update": lambda number: {"op": "update", "id": number, "task": {"title": "changed"}},
    "update of a due date": lambda number: {"op": "update", "id": number, "task": {"due_date": "2900-01-01"}},
    "complete": lambda number: {"op": "complete", "id": number, "completed": True},
    "delete": lambda number: {"op": "delete", "id": number, "version": number},
}


@pytest.mark.parametrize("kinds", [[name] for name in KINDS] + [[*KINDS]], ids="+".join)
def test_a_batch_of_100_takes_at_most_6_round_trips(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch, kinds: list[str]
) -> None:
    results(alice, *[{"op": "create", "task": {"title": str(id)}} for id in range(1, 101)])
    calls: list[str] = []
    for name in ("fetch", "execute", "commit"):
        original = getattr(UnitOfWork, name)

        def record(unit: UnitOfWork, *arguments: Any, name: str = name, original: Any = original) -> Any:
            calls.append(name)
            return original(unit, *arguments)

        monkeypatch.setattr(UnitOfWork, name, record)
    results(alice, *[KINDS[kinds[id % len(kinds)]](id) for id in range(1, 101)])
    assert len(calls) <= 6, calls


def test_a_batch_yields_after_each_pipeline(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    fetch = UnitOfWork.fetch
    monkeypatch.setattr(UnitOfWork, "fetch", lambda unit, calls: sizes.append(len(calls)) or fetch(unit, calls))
    results(alice, *[KINDS["create"](0)] * 100)
    assert max(sizes) == 2 * pipelines.PIPELINED_OPERATIONS
