"""An import computes its rows before its transaction, and computes them again if tasks that it names have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskapi.auth.tokens import User
from taskapi.database.sqlite import Cursor
from taskapi.database.unit_of_work import running_unit
from taskapi.http.fields.collections import LoadedItems
from taskapi.http.permits import Permits
from taskapi.tasks import folding
from taskapi.tasks.models import Task
from taskapi.tasks.transfer import import_numbers, import_plan, import_statements, imports, routes, schemas
from taskapi.tasks.transfer.import_statements import DESCRIPTION
from taskapi.tasks.transfer.schemas import import_in
from tests.conftest import Person, Statements
from tests.slices import Slices
from tests.tasks.transfer.test_import_series import DAILY, load, load_ok, positions, series_task


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["without-key", "with-key"])
def test_an_import_computes_nothing_in_its_transaction(
    alice: Person, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    fold, within = folding.fold, []

    def record(text: str) -> str:
        unit = running_unit.get()
        within.append(unit is not None and unit.writable)
        return fold(text)

    monkeypatch.setattr(folding, "fold", record)
    for title in ("x", "y"):
        tasks = [{"id": id, "title": title} for id in range(1, 4)]
        response = alice.data("POST", "/import", json={"tasks": tasks}, headers={**headers, "X-Request-Id": title})
        assert response.status_code == (422 if headers and title == "y" else 200), "the key was used for the first one"
    assert within
    assert not any(within)


def test_a_repeated_import_with_a_key_is_replayed_without_computing_it(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    request: dict[str, Any] = {"json": {"tasks": [{"title": "x"}]}, "headers": {"Idempotency-Key": "k"}}
    first = alice.data("POST", "/import", **request)
    monkeypatch.setattr(import_plan, "compute", lambda *_: pytest.fail("computed again"))
    again = alice.data("POST", "/import", **request)
    assert (again.status_code, again.data, again.headers["Idempotency-Replayed"]) == (200, first.data, "true")
    assert alice.titles() == ["x"]


def during_plans(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[], object]) -> list[import_plan.Plan]:
    """Make one of the changes after each computed plan, in order; the last one again and again. Returns the plans."""
    compute, plans = import_plan.compute, []

    def compute_and_change(*arguments: Any, **options: Any) -> import_plan.Plan:
        plan = compute(*arguments, **options)
        plans.append(plan)
        changes[min(len(plans), len(changes)) - 1]()
        return plan

    monkeypatch.setattr(import_plan, "compute", compute_and_change)
    return plans


def nothing() -> None:
    """Change nothing."""


CHANGES: dict[str, Callable[[Person], object]] = {
    "changed": lambda alice: alice.put("/1", json={"description": "new"}),
    "deleted": lambda alice: alice.delete("/2"),
    "deleted permanently": lambda alice: alice.delete("/2?permanent=true"),
    "erased": lambda alice: alice.data("DELETE"),
    "created by another import": lambda alice: load(alice, {"id": 9, "title": "other", "description": "kept"}),
    "unchanged otherwise": lambda alice: alice.put("/1", json={"title": "x"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_between_computing_and_writing_an_import_is_not_lost(
    alice: Person, monkeypatch: pytest.MonkeyPatch, change: Callable[[Person], object]
) -> None:
    document = [{"id": 1, "title": "x"}, {"id": 2, "title": "y"}, {"id": 9, "title": "z"}]

    def content() -> list[Any]:
        tasks = alice.data("GET", "/export").get_json(force=True)["tasks"]
        return [(task["id"], task["title"], task["description"], task["deleted_at"] is None) for task in tasks]

    def begin() -> None:
        alice.data("DELETE")
        load_ok(alice, {"id": 1, "title": "one"}, {"id": 2, "title": "two"})

    begin()
    change(alice)
    counts = load(alice, *document).get_json()
    expected = content()
    begin()
    # The other import is of another worker.
    monkeypatch.setattr(routes, "import_permits", Permits("imports", per_user=2, per_worker=2))
    plans = during_plans(monkeypatch, lambda: change(alice), nothing)
    assert load(alice, *document).get_json() == counts
    assert content() == expected
    assert len(plans) >= 2


def test_a_number_that_is_taken_meanwhile_is_given_to_no_other_task(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add("one")
    plans = during_plans(monkeypatch, lambda: [alice.add(title) for title in ("two", "three")], nothing)
    response = alice.data("POST", "/import", json={"tasks": [{"id": 3, "title": "x"}, {"id": 9, "title": "y"}]})
    assert response.get_json()["renumbered"] == [{"from": 3, "to": 10}]
    assert len(plans) == 2
    assert {task["id"]: task["title"] for task in alice.get().get_json()} == {
        1: "one",
        2: "two",
        3: "three",
        9: "y",
        10: "x",
    }


def test_a_series_position_that_is_taken_meanwhile_is_not_taken_again(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_ok(alice, series_task(1, 1, 1))
    plans = during_plans(monkeypatch, lambda: alice.patch("/1/complete"), nothing)
    load_ok(alice, series_task(9, 1, 2))
    assert len(plans) == 2
    placed = positions(alice)
    assert placed[2] == (1, 2)
    assert placed[9][0] not in (1, 2, 9, None)


def test_other_writes_meanwhile_do_not_make_an_import_compute_its_rows_again(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_ok(alice, {"id": 1, "title": "one"})
    plans = during_plans(monkeypatch, lambda: alice.add("other"))
    load_ok(alice, {"id": 1, "title": "x"}, {"title": "new"}, {"title": "newer"})
    assert len(plans) == 1
    tasks = alice.get("?sort=position").get_json()
    assert [(task["id"], task["title"], task["version"], task["position"]) for task in tasks] == [
        (1, "x", 3, "a1"),
        (2, "other", 2, "a2"),
        (3, "new", 3, "a3"),
        (4, "newer", 3, "a4"),
    ]


def test_an_import_whose_transaction_is_repeated_gets_the_ids_that_are_free_then(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows = import_statements.write_rows
    moments = ["create another task", "write"]

    def fail_once(*arguments: Any) -> None:
        write_rows(*arguments)
        if moments.pop() == "write":
            raise imports.PlanOutdated

    plans: list[import_plan.Plan] = []

    def compute_once(*arguments: Any, **options: Any) -> import_plan.Plan:
        if plans:
            alice.add("other")
        else:
            plans.append(compute(*arguments, **options))
        return plans[0]

    compute = import_plan.compute
    monkeypatch.setattr(import_statements, "write_rows", fail_once)
    monkeypatch.setattr(import_plan, "compute", compute_once)
    alice.add("first")
    load_ok(alice, {"title": "new"}, {"title": "placed", "position": "a1"})
    tasks = alice.get("?sort=created_at").get_json()
    assert [(task["id"], task["title"], task["position"], task["version"]) for task in tasks] == [
        (1, "first", "a1", 1),
        (2, "other", "a2", 2),
        (3, "new", "a3", 3),
        (4, "placed", "a1", 3),
    ]


def test_an_import_computes_nothing_for_each_row_under_the_write_lock_of_sqlite(
    alice: Person, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects for 10,000 rows make the garbage collector run: 130 ms, for which all writers would wait."""
    if not alice.client.application.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("SQLite only")
    executed: list[Any] = []
    executemany = Cursor.executemany

    def record(cursor: Cursor, sql: str, rows: Any) -> Cursor:
        executed.append(rows)
        return executemany(cursor, sql, rows)

    monkeypatch.setattr(Cursor, "executemany", record)
    plans = during_plans(monkeypatch, nothing)
    load_ok(alice, {"id": 1, "title": "x"}, {"title": "y"})
    assert len(executed) == 1
    assert executed[0] is plans[0].rows


def test_an_import_of_tasks_that_change_again_and_again_is_503_and_changes_nothing(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_ok(alice, {"id": 1, "title": "one"})
    plans = during_plans(monkeypatch, lambda: alice.patch("/1/complete"))
    response = load(alice, {"id": 1, "title": "x"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert (alice.titles(), len(plans)) == (["one"], imports.ATTEMPTS)


def test_the_transaction_of_an_import_has_a_fixed_number_of_statements(
    alice: Person, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title in ("x", "y"):
        sent = {}
        for number in (150, 300):
            during_plans(monkeypatch, statements.clear)
            load_ok(alice, *[{**DAILY, "id": number * 1000 + id, "title": title} for id in range(number)])
            sent[number] = len(statements)
        assert sent[300] <= sent[150] + 1, "a statement writes any number of rows on SQLite, 200 on PostgreSQL"
        assert sent[150] <= 6


def test_an_import_accepts_the_export_of_many_tasks_with_ordinary_notes(alice: Person) -> None:
    tasks = [
        {"title": f"Task {number}", "description": "What has to be done, by whom. \u30bf\U0001f642" * 20}
        for number in range(2500)
    ]
    load_ok(alice, *tasks)
    exported = alice.data("GET", "/export")
    body = exported.data
    assert len(body) > 2 * 1024 * 1024
    before = exported.get_json(force=True)["tasks"]
    assert alice.data("DELETE").status_code == 204
    response = alice.data("POST", "/import", data=body, content_type="application/json")
    assert response.get_json() == {"created": 2500, "updated": 0, "unchanged": 0, "renumbered": [], "dropped": []}
    after = alice.data("GET", "/export").get_json(force=True)["tasks"]
    assert [{**task, "version": 0} for task in after] == [{**task, "version": 0} for task in before]


def test_more_imports_than_places_wait_and_are_503_at_last(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "IMPORT_TIMEOUT", 0)
    others = [routes.import_permits.acquire_now(f"user {number}") for number in range(routes.IMPORTS_AT_A_TIME)]
    assert all(others)
    refused = load(alice, {"title": "x"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    del others
    load_ok(alice, {"title": "x"})


@pytest.mark.parametrize(("length", "most"), [(10, import_plan.COMPUTED_AT_A_TIME), (10_000, 1)])
def test_an_import_yields_after_fewer_tasks_with_long_texts(
    alice: Person, slices: Slices, length: int, most: int
) -> None:
    slices.count(import_plan, "_merge_row")
    load_ok(alice, *[{"title": "x", "description": "é" * length}] * 30)
    assert (slices.total, slices.longest) == (30, most)


def test_an_import_yields_while_it_compares_the_numbers_of_its_tasks(
    alice: Person, slices: Slices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "COMPARED_AT_A_TIME", 20)
    tasks = import_in.load({"tasks": LoadedItems([{"id": id, "title": "x"} for id in range(1, 51)], None)})["tasks"]
    assert len(slices.counts) == 3, "a yield after every 20 of 50"
    monkeypatch.setattr(import_plan, "COMPARED_AT_A_TIME", 10)
    monkeypatch.setattr(import_numbers, "NUMBERED_AT_A_TIME", 10)
    for owner, name in (
        (import_plan, "_numbers_in"),
        (import_plan, "_implied_task_id"),
        (import_numbers.Numbers, "is_own"),
        (import_numbers.Numbers, "_position"),
    ):
        with monkeypatch.context() as patch, alice.client.application.app_context():
            counted = Slices(patch)
            counted.count(owner, name)
            import_plan.compute(User("alice"), tasks)
        assert (counted.total, counted.longest) == (50, 10), name


def test_a_statement_of_an_import_has_a_bounded_number_of_rows_and_of_characters_on_postgresql() -> None:
    width = len(Task.__table__.columns)

    def sizes(lengths: list[int]) -> list[int]:
        rows = [["x" * length if index == DESCRIPTION else None for index in range(width)] for length in lengths]
        slices = [*import_statements._slices(rows)]
        assert [row for some in slices for row in some] == rows
        return [len(some) for some in slices]

    most = import_statements.ROWS_PER_STATEMENT
    assert sizes([]) == []
    assert sizes([100] * (2 * most + 1)) == [most, most, 1]
    longest = import_statements.CHARACTERS_PER_STATEMENT // 10_000 + 1
    assert sizes([10_000] * (2 * longest + 1)) == [longest, longest, 1]
