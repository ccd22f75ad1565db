"""A request that a client or a network repeats leaves the same data as a single one, if it is repeatable."""

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
NEW_TASKS = st.builds(
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
DESTINATIONS = st.builds(lambda side, other: {side: other}, SIDES, st.one_of(st.none(), IDS))

OPERATIONS = st.one_of(
    st.builds(lambda task: {"op": "create", "task": task}, NEW_TASKS),
    st.builds(lambda number, task: {"op": "update", "id": number, "task": task}, IDS, MEMBERS),
    st.builds(lambda number, done: {"op": "complete", "id": number, "completed": done}, IDS, st.booleans()),
    st.builds(lambda number: {"op": "delete", "id": number}, IDS),
    st.builds(lambda number: {"op": "restore", "id": number}, IDS),
    st.builds(lambda number, place: {"op": "move", "id": number, **place}, IDS, DESTINATIONS),
)


@dataclass(frozen=True)
class Change:
    """A request that changes tasks. `guards` are the ways to make it repeatable.

    `key`: with Idempotency-Key; `version`: with If-Match; `state`: as it is, because it sets a state.
    """

    method: str
    path: str
    json: Any
    guards: tuple[str, ...]


def new_change(guards: str, method: str, path: str, body: Any = None) -> Change:
    """Make a `Change`; `guards` is separated by spaces."""
    return Change(method, path, body, tuple(guards.split()))


CHANGES = st.one_of(
    st.builds(lambda task: new_change("key", "POST", "", task), NEW_TASKS),
    st.builds(lambda number, task: new_change("key version state", "PUT", f"/{number}", task), IDS, MEMBERS),
    st.builds(lambda number, task: new_change("key version state", "PATCH", f"/{number}", task), IDS, MEMBERS),
    st.builds(lambda number: new_change("key version", "PATCH", f"/{number}/complete"), IDS),
    st.builds(
        lambda number, done: new_change("key version state", "PATCH", f"/{number}/complete", {"completed": done}),
        IDS,
        st.booleans(),
    ),
    st.builds(lambda number: new_change("key version state", "DELETE", f"/{number}"), IDS),
    st.builds(lambda number: new_change("key version state", "DELETE", f"/{number}?permanent=true"), IDS),
    st.builds(lambda number: new_change("key version state", "POST", f"/{number}/restore"), IDS),
    st.builds(
        lambda number, place: new_change("key version state", "POST", f"/{number}/move", place), IDS, DESTINATIONS
    ),
    st.builds(
        lambda operations: new_change("key", "POST", "/batch", {"operations": operations}),
        st.lists(OPERATIONS, min_size=1, max_size=4),
    ),
)

DELIVERIES = st.tuples(CHANGES, st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))
"""Tuples of a change, the number of its guard, how often it is repeated, and the other requests before a repetition."""

RUN_NUMBERS = itertools.count()


def with_four_tasks(person: Person) -> Person:
    """Create four tasks for a person, one of them recurring and one in the trash; id 5 is unused."""
    repeating = {"title": "Two", "due_date": "2030-01-31", "recurrence": "FREQ=MONTHLY"}
    tasks = [{"title": "One"}, repeating, {"title": "Three"}, {"title": "Four"}]
    operations = [*({"op": "create", "task": task} for task in tasks), {"op": "delete", "id": 4}]
    assert person.post("/batch", json={"operations": operations}).status_code == 200
    return person


def send(person: Person, change: Change, headers: dict[str, str]) -> TestResponse:
    """Send the request of a change with these headers."""
    options = {} if change.json is None else {"json": change.json}
    return person.send(change.method, change.path, headers=headers, **options)


def headers_of(person: Person, change: Change, guard: str, number: int) -> dict[str, str]:
    """Return the headers of a guard: an idempotency key made of `number`, or the task's current version."""
    if guard == "key":
        return {"Idempotency-Key": f"request-{number}"}
    if guard == "version":
        return {"If-Match": current_version(person, change.path.split("/")[1].partition("?")[0])}
    return {}


def current_version(person: Person, id: str) -> str:
    """Return the current ETag of a task, live or in the trash; of a version that does not exist if there is no task."""
    seen = [*person.get().get_json(), *person.get("?trash=true").get_json()]
    return next((f'"{task["version"]}"' for task in seen if str(task["id"]) == id), '"999999"')


def everything(person: Person) -> dict[str, Any]:
    """Return all data of a person; timestamps as booleans, because the two persons compared have different ones."""
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
    """Return a task without the members that differ between two users."""
    is_set = {name: task[name] is not None for name in task if name.endswith("_at")}
    return {**task, **is_set, "user_id": None}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(deliveries=st.lists(DELIVERIES, min_size=4, max_size=14))
def test_repeated_requests_leave_the_same_state_as_single_ones(
    person_without_rate_limit: Callable[[str], Person], deliveries: list[tuple[Change, int, int, int]]
) -> None:
    run = next(RUN_NUMBERS)
    repeated_person, single_person = (
        with_four_tasks(person_without_rate_limit(f"many-{run}")),
        with_four_tasks(person_without_rate_limit(f"once-{run}")),
    )
    late: list[tuple[int, Callable[[], object]]] = []
    for number, (change, choice, repeats, delay) in enumerate(deliveries):
        guard = change.guards[choice % len(change.guards)]
        headers = [headers_of(person, change, guard, number) for person in (repeated_person, single_person)]
        single = send(single_person, change, headers[1])
        first = send(repeated_person, change, headers[0])
        assert first.status_code == single.status_code
        assert first.status_code < 500
        for _ in range(repeats):
            if guard == "state" or not delay:
                again = send(repeated_person, change, headers[0])
                check_repeated_response(guard, change, first, again)
            else:
                # A delayed repetition: a key and a version protect it after other requests too. If the first request
                # was refused, nothing was executed or stored, and a repetition is an ordinary request.
                if first.status_code < 300:
                    late.append((number + delay, lambda w=change, h=headers[0]: send(repeated_person, w, h)))
        for due, deliver in list(late):
            if due <= number:
                late.remove((due, deliver))
                deliver()
    for _, deliver in late:
        deliver()
    assert everything(repeated_person) == everything(single_person)


def check_repeated_response(guard: str, change: Change, first: TestResponse, again: TestResponse) -> None:
    """Check the response to a repetition: identical with a key; with a version it may be 404 or 412.

    The replay of a batch has each task as it is after the whole batch, and null for one that no longer exists.
    """
    if guard == "key" and first.status_code < 300:
        assert again.status_code == first.status_code
        assert again.headers["Idempotency-Replayed"] == "true"
        if change.path == "/batch":
            assert [task and task["id"] for task in again.get_json()["results"]] == [
                task and task["id"] for task in first.get_json()["results"]
            ]
        else:
            assert again.data == first.data
    elif guard == "version":
        assert again.status_code in (first.status_code, 404, 412)
    elif guard == "state" and change.method != "DELETE":
        assert again.status_code == first.status_code


@pytest.fixture
def person_without_rate_limit(make_app: Callable[..., Flask]) -> Callable[[str], Person]:
    """A function that makes a person by name, without a rate limit."""
    app = make_app(RATE_LIMIT="off")
    return lambda name: Person(app.test_client(), name)


def test_a_toggle_without_key_or_if_match_that_is_sent_twice_toggles_twice(alice: Person) -> None:
    """This is why a toggle needs a guard. If this test fails one day, the docs can promise more."""
    alice.add()
    alice.patch("/1/complete")
    assert alice.patch("/1/complete").get_json()["completed"] is False


def test_a_repeated_restore_gets_the_same_response_when_the_quota_is_full(make_app: Callable[..., Flask]) -> None:
    """Regression: the second request found the quota full because of the task that the first had restored: 409."""
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
