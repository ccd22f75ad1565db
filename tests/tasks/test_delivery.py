"""A network that delivers a request once, twice or three times leaves what one delivery would have left."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.conftest import Person

IDS = st.integers(1, 5)
TITLES = st.sampled_from(["Buy milk", "Pay the café", "タスク"])
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "title": TITLES,
        "description": st.sampled_from([None, "2 l"]),
        "completed": st.booleans(),
        "priority": st.sampled_from(["none", "high"]),
        "tags": st.sampled_from([[], ["home", "Café"]]),
        "due_date": st.sampled_from([None, "2030-01-31"]),
    },
)
NEW = st.builds(
    lambda title, members, repeats: {
        **members,
        "title": title,
        **({"due_date": "2030-01-31", "recurrence": "FREQ=MONTHLY"} if repeats else {}),
    },
    TITLES,
    MEMBERS,
    st.booleans(),
)
SIDES = st.sampled_from(["before", "after"])
PLACES = st.builds(lambda side, other: {side: other}, SIDES, st.one_of(st.none(), IDS))

OPERATIONS = st.one_of(
    st.builds(lambda task: {"op": "create", "task": task}, NEW),
    st.builds(lambda number, task: {"op": "update", "id": number, "task": task}, IDS, MEMBERS),
    st.builds(lambda number, done: {"op": "complete", "id": number, "completed": done}, IDS, st.booleans()),
    st.builds(lambda number: {"op": "delete", "id": number}, IDS),
    st.builds(lambda number: {"op": "restore", "id": number}, IDS),
    st.builds(lambda number, place: {"op": "move", "id": number, **place}, IDS, PLACES),
)


@dataclass(frozen=True)
class Wish:
    """A change somebody wants; `guards` are the ways to say so that can be repeated."""

    method: str
    path: str
    json: Any
    guards: tuple[str, ...]


def wish(guards: str, method: str, path: str, body: Any = None) -> Wish:
    return Wish(method, path, body, tuple(guards.split()))


WISHES = st.one_of(
    st.builds(lambda task: wish("key", "POST", "", task), NEW),
    st.builds(lambda number, task: wish("key version state", "PUT", f"/{number}", task), IDS, MEMBERS),
    st.builds(lambda number, task: wish("key version state", "PATCH", f"/{number}", task), IDS, MEMBERS),
    st.builds(lambda number: wish("key version", "PATCH", f"/{number}/complete"), IDS),
    st.builds(
        lambda number, done: wish("key version state", "PATCH", f"/{number}/complete", {"completed": done}),
        IDS,
        st.booleans(),
    ),
    st.builds(lambda number: wish("key version state", "DELETE", f"/{number}"), IDS),
    st.builds(lambda number: wish("key version state", "DELETE", f"/{number}?permanent=true"), IDS),
    st.builds(lambda number: wish("key version state", "POST", f"/{number}/restore"), IDS),
    st.builds(lambda number, place: wish("key version state", "POST", f"/{number}/move", place), IDS, PLACES),
    st.builds(
        lambda operations: wish("key", "POST", "/batch", {"operations": operations}),
        st.lists(OPERATIONS, min_size=1, max_size=4),
    ),
)

DELIVERIES = st.tuples(WISHES, st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))
"""What is wanted, which of its guards is used, how often it is repeated, and how many other requests come between."""

COUNTER = itertools.count()


def settled(person: Person) -> Person:
    """Somebody with four tasks to work on, one of them repeating and one in the trash; the fifth id is nobody's yet."""
    repeating = {"title": "Two", "due_date": "2030-01-31", "recurrence": "FREQ=MONTHLY"}
    tasks = [{"title": "One"}, repeating, {"title": "Three"}, {"title": "Four"}]
    operations = [*({"op": "create", "task": task} for task in tasks), {"op": "delete", "id": 4}]
    assert person.post("/batch", json={"operations": operations}).status_code == 200
    return person


def send(person: Person, wished: Wish, headers: dict[str, str]) -> TestResponse:
    options = {} if wished.json is None else {"json": wished.json}
    return person.send(wished.method, wished.path, headers=headers, **options)


def headers_of(person: Person, wished: Wish, guard: str, number: int) -> dict[str, str]:
    if guard == "key":
        return {"Idempotency-Key": f"request-{number}"}
    if guard == "version":
        return {"If-Match": version_of(person, wished.path.split("/")[1].partition("?")[0])}
    return {}


def version_of(person: Person, id: str) -> str:
    """The version that a client has seen, of a task in the trash as well."""
    seen = [*person.get().get_json(), *person.get("?trash=true").get_json()]
    return next((f'"{task["version"]}"' for task in seen if str(task["id"]) == id), '"999999"')


def everything(person: Person) -> dict[str, Any]:
    """All that there is of somebody; of a moment only whether it is set, for two accounts live at two times."""
    headers = {"Authorization": f"Bearer {person.token}"}
    feed = person.client.get(f"/api/{person.id}/changes", headers=headers).get_json()
    stats = person.client.get(f"/api/{person.id}/stats", headers=headers).get_json()
    lists = [person.get("?sort=position"), person.get("?trash=true&sort=position")]
    return {
        "lists": [[comparable(task) for task in each.get_json()] for each in lists],
        "revision": lists[0].headers["ETag"].partition(".")[0],
        "feed": [comparable(item) for item in feed["items"]],
        "stats": stats,
    }


def comparable(task: dict[str, Any]) -> dict[str, Any]:
    moments = {name: task[name] is not None for name in task if name.endswith("_at")}
    return {**task, **moments, "user_id": None}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(deliveries=st.lists(DELIVERIES, min_size=4, max_size=14))
def test_delivered_once_or_several_times_the_end_is_the_same(
    unlimited: Callable[[str], Person], deliveries: list[tuple[Wish, int, int, int]]
) -> None:
    turn = next(COUNTER)
    many, once = settled(unlimited(f"many-{turn}")), settled(unlimited(f"once-{turn}"))
    late: list[tuple[int, Callable[[], object]]] = []
    for number, (wished, choice, repeats, delay) in enumerate(deliveries):
        guard = wished.guards[choice % len(wished.guards)]
        headers = [headers_of(person, wished, guard, number) for person in (many, once)]
        single = send(once, wished, headers[1])
        first = send(many, wished, headers[0])
        assert first.status_code == single.status_code
        assert first.status_code < 500
        for _ in range(repeats):
            if guard == "state" or not delay:
                again = send(many, wished, headers[0])
                check_answer(guard, wished, first, again)
            else:
                # A packet that took another way: a key and a version hold however late it comes, unless the first
                # was refused and so nothing was carried out, when it is a request like any other.
                if first.status_code < 300:
                    late.append((number + delay, lambda w=wished, h=headers[0]: send(many, w, h)))
        for due, deliver in list(late):
            if due <= number:
                late.remove((due, deliver))
                deliver()
    for _, deliver in late:
        deliver()
    assert everything(many) == everything(once)


def check_answer(guard: str, wished: Wish, first: TestResponse, again: TestResponse) -> None:
    """A key answers alike; the other guards may say that it is done already (404, 412)."""
    if guard == "key" and first.status_code < 300:
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert again.headers["Idempotency-Replayed"] == "true"
    elif guard == "version":
        assert again.status_code in (first.status_code, 404, 412)
    elif guard == "state" and wished.method != "DELETE":
        assert again.status_code == first.status_code


@pytest.fixture
def unlimited(make_app: Callable[..., Flask]) -> Callable[[str], Person]:
    app = make_app(RATE_LIMIT="off")
    return lambda name: Person(app.test_client(), name)


def test_a_toggle_that_nothing_guards_ends_wrong_when_it_comes_twice(alice: Person) -> None:
    """Why the guards are there; if this is red one day, the docs may promise more."""
    alice.add()
    alice.patch("/1/complete")
    assert alice.patch("/1/complete").get_json()["completed"] is False


def test_a_restore_that_comes_twice_is_answered_alike_at_the_quota_too(make_app: Callable[..., Flask]) -> None:
    """The second delivery found no room for the task that the first had brought back, and said 409."""
    alice = Person(make_app(MAX_TASKS_PER_USER="2").test_client(), "alice")
    alice.add()
    alice.delete("/1")
    alice.add()
    first = alice.post("/1/restore")
    again = alice.post("/1/restore")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.data == first.data
    assert alice.post("/99/restore").status_code == 404
    assert alice.post("/1/restore", headers={"If-Match": '"99"'}).status_code == 412
    alice.delete("/1")
    alice.add()
    assert alice.post("/1/restore").status_code == 409
    assert [task["id"] for task in alice.get("?trash=true").get_json()] == [1]
