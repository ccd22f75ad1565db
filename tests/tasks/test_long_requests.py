"""Every route decides which permits its requests hold: no user has more than two long requests in progress."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from taskapi.database.unit_of_work import UnitOfWork, running_unit
from taskapi.guard import large_bodies
from taskapi.http import large_responses, permits
from taskapi.http.large_responses import SMALL_PAGE
from taskapi.http.permits import HeldPermit, Permits
from taskapi.tasks.long_requests import long_reads, long_writes
from taskapi.tasks.transfer import routes as transfer
from tests.conftest import Person
from tests.every_request import API, at
from tests.tasks.test_pages import fill

BODIES, RESPONSES, IMPORTS = large_bodies.permits, large_responses.permits, transfer.import_permits
KINDS = (BODIES, IMPORTS, RESPONSES, long_reads, long_writes)

TASKS = SMALL_PAGE + 20
"""Alice's tasks: more than a page that needs no permit."""

LONG_TEXT = "x" * 1000
OPERATIONS = [{"op": "update", "id": n, "task": {"description": LONG_TEXT}} for n in range(1, 91)]

ROUTES: dict[tuple[str, str], dict[str, tuple[Permits, ...]]] = {
    ("GET", ""): {
        "": (RESPONSES,),
        "?limit=20": (),
        "?limit=20&sort=-created_at": (),
        "?limit=20&sort=updated_at": (),
        **{
            f"?limit=20&{query}": (long_reads,)
            for query in (
                *("q=t", "include=total", "trash=true", "status=pending", "priority=high", "tag=a", "no_due=true"),
                *("due_from=2030-01-01", "due_to=2030-01-01", "overdue=true"),
                *("sort=title", "sort=-due", "sort=priority", "sort=position"),
            )
        },
        "?q=t": (long_reads, RESPONSES),
    },
    ("POST", ""): {"": ()},
    ("GET", "/{id}"): {"": ()},
    ("PUT", "/{id}"): {"": ()},
    ("PATCH", "/{id}"): {"": ()},
    ("DELETE", "/{id}"): {"": (), "?permanent=true": ()},
    ("PATCH", "/{id}/complete"): {"": ()},
    ("POST", "/{id}/restore"): {"": ()},
    ("POST", "/{id}/move"): {"": (long_writes,)},
    ("POST", "/batch"): {"": (BODIES, RESPONSES)},
    ("GET", "../changes"): {"": (RESPONSES,), "?limit=20": ()},
    ("GET", "../stats"): {"": (long_reads,)},
    ("GET", "../export"): {"": (RESPONSES,), "?format=csv": (RESPONSES,), "?format=ics": (RESPONSES,)},
    ("POST", "../import"): {"": (BODIES, IMPORTS)},
    ("DELETE", ".."): {"": (long_writes,)},
}
"""By method and path after `/api/{user_id}/tasks`: query strings of the route, and the permits that such a request
acquires, in this order; () for a small request."""

JSON: dict[tuple[str, str], Any] = {
    ("POST", ""): {"title": "New"},
    ("PUT", "/{id}"): {"title": "New"},
    ("PATCH", "/{id}"): {"title": "New"},
    ("POST", "/{id}/move"): {"before": None},
    ("POST", "/batch"): {"operations": OPERATIONS},
    ("POST", "../import"): {"tasks": [{"title": "New", "description": LONG_TEXT}] * 90},
}

REQUESTS = [(*route, query) for route, queries in ROUTES.items() for query in queries]
LONG = [(*request, kind) for request in REQUESTS for kind in ROUTES[request[:2]][request[2]]]
SMALL = [request for request in REQUESTS if not ROUTES[request[:2]][request[2]]]


def template(path: str) -> str:
    """Return the path template of a route of the table."""
    return f"/api/{{user_id}}/tasks{path}".replace("/tasks../", "/").replace("/tasks..", "")


@pytest.fixture(autouse=True)
def alice(app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Alice with tasks; requests do not wait for a permit, and none is held after the test."""
    monkeypatch.setattr(permits, "PERMIT_TIMEOUT", 0)
    monkeypatch.setattr(transfer, "IMPORT_TIMEOUT", 0)
    fill(app, [None] * TASKS)
    yield alice
    if any(kind._lane._held for kind in KINDS):
        gc.collect()
    assert not any(kind._lane._held for kind in KINDS)


def send(person: Person, method: str, path: str, query: str, **options: Any) -> TestResponse:
    """Send a request of the table about the first task; the whole response is read, then it is closed."""
    if (method, path) in JSON:
        options["json"] = JSON[method, path]
    headers = {"Authorization": f"Bearer {person.token}", **options.pop("headers", {})}
    url = at(template(path), person.id) + query
    return person.client.open(url, method=method, headers=headers, buffered=True, **options)


def acquire_all(kind: Permits, user: str) -> list[HeldPermit]:
    """Acquire all permits that a user may have of one kind."""
    held: list[HeldPermit] = []
    while one := kind.acquire_now(user):
        held.append(one)
    return held


def release(held: list[HeldPermit]) -> None:
    for each in held:
        each.release()


def test_every_route_is_in_the_table_of_these_tests():
    assert {(method, template(path)) for method, path in ROUTES} == {each for each in API if each[0] != "HEAD"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind._kind)
def test_a_user_has_at_most_two_long_requests_of_a_kind_in_progress_and_leaves_some_for_others(kind: Permits):
    held = acquire_all(kind, "alice")
    assert len(held) in (1, 2)
    others = acquire_all(kind, "bob")
    assert others
    release(held + others)


@pytest.mark.parametrize(("method", "path", "query", "kind"), LONG)
def test_one_more_long_request_of_a_user_is_429_and_another_user_s_is_served(
    app: Flask, alice: Person, method: str, path: str, query: str, kind: Permits
):
    held = acquire_all(kind, "alice")
    refused = send(alice, method, path, query)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    bob = Person(app.test_client(), "bob")
    assert bob.data("POST", "/import", json={"tasks": [{"title": "t"}] * len(OPERATIONS)}).status_code == 200
    served = send(bob, method, path, query)
    assert served.status_code in (200, 204), served.text
    release(held)
    assert send(alice, method, path, query).status_code in (200, 204)


@pytest.mark.parametrize(("method", "path", "query"), SMALL)
def test_a_small_request_needs_no_permit(alice: Person, method: str, path: str, query: str):
    held = [one for kind in KINDS for one in acquire_all(kind, "alice")]
    assert send(alice, method, path, query).status_code in (200, 201, 204, 404)
    release(held)


@pytest.mark.parametrize("key", [None, "k"], ids=["without-key", "with-key"])
@pytest.mark.parametrize(("method", "path", "query"), [each[:3] for each in dict.fromkeys(each[:3] for each in LONG)])
def test_permits_are_acquired_in_order_before_any_transaction_and_held_while_statements_run(
    alice: Person, method: str, path: str, query: str, key: str | None, monkeypatch: pytest.MonkeyPatch
):
    acquired, held_at_work = [], []
    acquire_now: Callable[[Permits, str], HeldPermit | None] = Permits.acquire_now
    begin = UnitOfWork.__init__

    def record_acquired(kind: Permits, user: str) -> HeldPermit | None:
        assert running_unit.get() is None, "within a unit of work"
        assert not kind._lane._held[user], "a second permit of the same kind"
        acquired.append(kind)
        return acquire_now(kind, user)

    def record_work(unit: UnitOfWork, *arguments: Any, **options: Any) -> None:
        held_at_work.append({kind for kind in KINDS if kind._lane._held["alice"]})
        begin(unit, *arguments, **options)

    monkeypatch.setattr(Permits, "acquire_now", record_acquired)
    monkeypatch.setattr(UnitOfWork, "__init__", record_work)
    sent = send(alice, method, path, query, headers={} if key is None else {"Idempotency-Key": key})
    assert sent.status_code in (200, 204), sent.text
    kinds = ROUTES[method, path][query]
    assert tuple(acquired) == kinds
    assert set(kinds) in held_at_work
    assert not any(kind._lane._held for kind in KINDS)
