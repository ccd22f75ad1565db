"""Manual order: POST /tasks/{id}/move puts a task before or after another, with any stored positions."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from taskapi.tasks import positions
from taskapi.tasks.positions import MAX_POSITION, between, implied_task_id, initial_position
from tests.conftest import Person, superuser_engine

PEOPLE = (f"mover-{number}" for number in count())


@pytest.fixture
def new_person(make_app: Callable[..., Flask]) -> Callable[[], Person]:
    """Return a function that makes a new user without a rate limit, so that Hypothesis can run many examples."""
    client = make_app(RATE_LIMIT="off").test_client()
    return lambda: Person(client, next(PEOPLE))


def create_tasks(person: Person, number: int) -> None:
    """Create this number of tasks, in batches of 100."""
    operations = [{"op": "create", "task": {"title": f"t{n}"}} for n in range(number)]
    for start in range(0, number, 100):
        assert person.post("/batch", json={"operations": operations[start : start + 100]}).status_code == 200


def ids_by_position(person: Person) -> list[int]:
    """Return the ids of all tasks in their manual order."""
    return [task["id"] for task in person.get("?sort=position").get_json()]


def move(person: Person, id: int, **where: int | None) -> dict[str, Any]:
    """Send a move that must succeed and return the task."""
    response = person.post(f"/{id}/move", json=where)
    assert response.status_code == 200, response.text
    moved: dict[str, Any] = response.get_json()
    assert response.headers["ETag"] == f'"{moved["version"]}"'
    return moved


def set_positions(person: Person, positions: dict[int, str]) -> None:
    """Overwrite stored positions, as an older release or a manual change of the database may have left them."""
    statement = text("UPDATE tasks SET position = :position WHERE user_id = :user AND id = :id")
    with person.client.application.app_context(), superuser_engine().begin() as connection:
        for id, position in positions.items():
            connection.execute(statement, {"position": position, "user": person.id, "id": id})


@pytest.mark.parametrize(
    ("id", "where", "expected"),
    [
        (4, {"before": 2}, [1, 4, 2, 3, 5]),
        (4, {"before": 1}, [4, 1, 2, 3, 5]),
        (2, {"after": 4}, [1, 3, 4, 2, 5]),
        (2, {"after": 5}, [1, 3, 4, 5, 2]),
        (2, {"before": None}, [1, 3, 4, 5, 2]),
        (4, {"after": None}, [4, 1, 2, 3, 5]),
        (1, {"before": None}, [2, 3, 4, 5, 1]),
        (5, {"after": None}, [5, 1, 2, 3, 4]),
        (1, {"before": 3}, [2, 1, 3, 4, 5]),
        (5, {"after": 3}, [1, 2, 3, 5, 4]),
    ],
    ids=str,
)
def test_a_task_is_moved_before_or_after_another_or_to_an_end(
    alice: Person, id: int, where: dict[str, int | None], expected: list[int]
) -> None:
    create_tasks(alice, 5)
    move(alice, id, **where)
    assert ids_by_position(alice) == expected
    assert [task["id"] for task in alice.get("?sort=-position").get_json()] == expected[::-1]


@pytest.mark.parametrize(
    ("id", "where"),
    [
        (3, {"before": 4}),
        (3, {"after": 2}),
        (5, {"before": None}),
        (1, {"after": None}),
        (3, {"before": 3}),
        (3, {"after": 3}),
        (1, {"before": 2}),
        (5, {"after": 4}),
    ],
    ids=str,
)
def test_a_move_to_the_current_position_keeps_the_version(alice: Person, id: int, where: dict[str, int | None]) -> None:
    create_tasks(alice, 5)
    tag, before = alice.get().headers["ETag"], alice.get(f"/{id}").get_json()
    assert move(alice, id, **where) == before
    assert alice.get().headers["ETag"] == tag
    assert ids_by_position(alice) == [1, 2, 3, 4, 5]


def test_a_single_task_can_be_moved_to_either_end(alice: Person) -> None:
    made = alice.add("alone")
    assert move(alice, 1, before=None) == made
    assert move(alice, 1, after=None) == made


@pytest.mark.parametrize("where", [{"before": 9}, {"after": 9}, {"before": 3}, {"after": 3}], ids=str)
def test_a_move_next_to_an_absent_or_deleted_task_is_404(alice: Person, where: dict[str, int]) -> None:
    create_tasks(alice, 3)
    alice.delete("/3")
    tag = alice.get().headers["ETag"]
    response = alice.post("/1/move", json=where)
    assert (response.status_code, response.get_json()["detail"]) == (404, "You have no task of this id.")
    assert alice.get().headers["ETag"] == tag


@pytest.mark.parametrize(
    ("where", "pointer"),
    [
        ({}, ""),
        ({"before": 1, "after": 2}, ""),
        ({"before": None, "after": None}, ""),
        ({"before": "1"}, "/before"),
        ({"before": 0}, "/before"),
        ({"after": True}, "/after"),
        ({"after": 10**18}, "/after"),
        ({"before": 1, "beside": 2}, "/beside"),
    ],
    ids=str,
)
def test_a_move_without_or_with_two_destinations_is_422(alice: Person, where: dict[str, Any], pointer: str) -> None:
    create_tasks(alice, 2)
    response = alice.post("/2/move", json=where)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["pointer"] == pointer
    assert ids_by_position(alice) == [1, 2]


def test_a_move_with_a_stale_if_match_is_412(alice: Person) -> None:
    create_tasks(alice, 3)
    response = alice.post("/1/move", json={"before": None}, headers={"If-Match": '"7"'})
    assert (response.status_code, response.get_json()["current"]["id"]) == (412, 1)
    assert alice.post("/1/move", json={}, headers={"If-Match": '"7"'}).status_code == 412
    assert alice.post("/9/move", json={}, headers={"If-Match": '"7"'}).status_code == 404
    assert alice.post("/1/move", json={"before": None}, headers={"If-Match": '"1"'}).status_code == 200


def test_mallory_cannot_move_a_task_of_alice_or_next_to_one(alice: Person, mallory: Person) -> None:
    create_tasks(alice, 3)
    mallory.add("his")
    assert mallory.post("/1/move", of="alice", json={"before": None}).status_code == 403
    assert mallory.post("/1/move", json={"after": 3}).status_code == 404
    assert ids_by_position(alice) == [1, 2, 3]


@pytest.mark.parametrize("where", [{"before": None}, {"after": None}, {"after": 12}, {"before": 9}], ids=str)
def test_a_new_task_is_last_after_any_moves(alice: Person, where: dict[str, int | None]) -> None:
    create_tasks(alice, 12)
    for id in (3, 10, 5):
        move(alice, id, **where)
    for _ in range(3):
        made = alice.add("new")["id"]
        assert ids_by_position(alice)[-1] == made


def test_a_restored_task_has_its_former_position(alice: Person) -> None:
    create_tasks(alice, 5)
    alice.delete("/3")
    move(alice, 5, after=1)
    move(alice, 1, before=None)
    alice.post("/3/restore")
    assert ids_by_position(alice) == [5, 2, 3, 4, 1]


MOVES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["before", "after"]), st.one_of(st.none(), st.integers(1, 6))),
    min_size=3,
    max_size=10,
)


def moved_in_list(tasks: list[int], id: int, side: str, other: int | None) -> list[int]:
    """Return the list of ids after the same move in a Python list: the expected order."""
    if id == other:
        return tasks
    rest = [task for task in tasks if task != id]
    ends = {"before": len(rest), "after": 0}
    at = ends[side] if other is None else rest.index(other) + (side == "after")
    return [*rest[:at], id, *rest[at:]]


@settings(
    max_examples=8,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    moves=MOVES,
    broken_positions=st.dictionaries(st.integers(1, 6), st.sampled_from(["", "a2", "zz", "a3V", "!", "a10", "é"])),
)
def test_random_moves_give_the_same_order_as_moves_in_a_list(
    new_person: Callable[[], Person], moves: list[tuple[int, str, int | None]], broken_positions: dict[int, str]
) -> None:
    alice = new_person()
    create_tasks(alice, 6)
    set_positions(alice, broken_positions)
    expected = ids_by_position(alice)
    for id, side, other in moves:
        before = expected
        expected = moved_in_list(expected, id, side, other)
        version = alice.get(f"/{id}").get_json()["version"]
        moved = move(alice, id, **{side: other})
        assert ids_by_position(alice) == expected
        if not broken_positions and before == expected:
            assert moved["version"] == version, "nothing changed"
    alice.add("new")
    if not broken_positions:
        assert ids_by_position(alice) == [*expected, 7]


@pytest.mark.parametrize("gap", [{"after": 1}, {"before": 2}, {"after": None}, {"before": None}], ids=str)
def test_many_moves_into_one_gap_keep_the_order_and_short_positions(
    new_person: Callable[[], Person], monkeypatch: pytest.MonkeyPatch, gap: dict[str, int | None]
) -> None:
    monkeypatch.setattr(positions, "MAX_POSITION", 20)  # 200 moves then renumber all tasks, as 1,000 do otherwise
    times = 200
    alice = new_person()
    create_tasks(alice, 7)
    alice.delete("/4")
    expected, ((side, other),) = [1, 2, 3, 5, 6, 7], gap.items()
    moving = [3, 5, 6, 7]
    operations = []
    for number in range(times):
        id = moving[number % 4]
        operations.append({"op": "move", "id": id, side: other})
        expected = moved_in_list(expected, id, side, other)
    stored: set[str] = set()
    for start in range(0, times, 100):
        response = alice.post("/batch", json={"operations": operations[start : start + 100]})
        assert response.status_code == 200
        stored |= {task["position"] for task in response.get_json()["results"]}
    assert ids_by_position(alice) == expected
    assert max(map(len, stored)) <= 20
    alice.post("/4/restore")
    assert len(ids_by_position(alice)) == 7
    assert alice.add("new")["id"] == ids_by_position(alice)[-1]


def test_when_a_gap_is_full_all_tasks_get_new_positions_in_the_same_order(alice: Person) -> None:
    create_tasks(alice, 5)
    alice.delete("/3")
    set_positions(alice, {2: "a2" + "0" * (MAX_POSITION - 3) + "1", 1: "a2", 3: "a2" + "1"})
    versions = {task["id"]: task["version"] for task in alice.get().get_json()}
    moved = move(alice, 5, after=1)
    assert ids_by_position(alice) == [1, 5, 2, 4]
    tasks = alice.get("?sort=position").get_json()
    assert {task["version"] for task in tasks} == {moved["version"]}, (
        "every task has changed, so every task is in the delta feed"
    )
    assert moved["version"] > max(versions.values())
    assert max(len(task["position"]) for task in tasks) <= 3
    alice.post("/3/restore")
    assert ids_by_position(alice) == [1, 5, 2, 3, 4]


@pytest.mark.parametrize("position", ["", "a1", "zz", "?"], ids=["empty", "equal", "broken", "invalid"])
def test_a_move_among_tasks_with_equal_or_invalid_positions_gives_the_right_order(alice: Person, position: str) -> None:
    create_tasks(alice, 4)
    set_positions(alice, dict.fromkeys(range(1, 5), position))
    assert ids_by_position(alice) == [1, 2, 3, 4]
    move(alice, 4, after=1)
    assert ids_by_position(alice) == [1, 4, 2, 3]
    move(alice, 1, before=3)
    assert ids_by_position(alice) == [4, 2, 1, 3]


def test_concurrent_moves_lose_no_task_and_give_no_position_twice(make_app: Callable[..., Flask]) -> None:
    app = make_app(RATE_LIMIT="off")
    alice = Person(app.test_client(), "alice")
    create_tasks(alice, 12)

    def shuffle(seed: int) -> set[int]:
        one, draw = Person(app.test_client(), "alice"), random.Random(seed)
        statuses = set()
        for _ in range(12):
            id, other = draw.sample(range(1, 13), 2)
            statuses.add(one.post(f"/{id}/move", json={draw.choice(["before", "after"]): other}).status_code)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        assert set.union(*pool.map(shuffle, range(4))) == {200}
    tasks = alice.get("?sort=position").get_json()
    assert sorted(task["id"] for task in tasks) == list(range(1, 13))
    assert len({task["position"] for task in tasks}) == 12


def test_a_gap_has_room_for_1000_moves() -> None:
    low, high = initial_position(1), initial_position(2)
    for _ in range(1000):
        position = between(low, high)
        assert position is not None
        high = position


@given(low=st.integers(0, 10**9), high=st.integers(1, 10**9))
def test_initial_positions_sort_like_ids_and_have_room_between(low: int, high: int) -> None:
    low, high = sorted((low + 1, low + 1 + high))
    place = between(initial_position(low), initial_position(high))
    assert place is not None
    assert initial_position(low) < place < initial_position(high)


@pytest.mark.parametrize(
    ("place", "id"),
    [("a1", 1), ("a9V", 9), ("aA", 9), ("b05", 9), ("b10", 10), ("b9A", 99), ("Zz", 0), ("a0", 0), ("c123V", 123)],
)
def test_implied_task_id_is_the_last_id_whose_initial_position_is_not_after(place: str, id: int) -> None:
    assert implied_task_id(place) == id
    assert initial_position(id + 1) > place
    assert id == 0 or initial_position(id) <= place


@pytest.mark.parametrize("text", ["", "a", "b1", "zz", "?", "a1é", "a1" * 101, "A" + "0" * 26, "a10", "1a"])
def test_an_invalid_position_implies_no_task_id(text: str) -> None:
    assert implied_task_id(text) is None
