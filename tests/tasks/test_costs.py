"""What requests cost in the rate limit: the table of docs/api.md."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from psycopg.errors import SerializationFailure
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.tasks.moves import queries
from tests.conftest import Person
from tests.imports import as_stored

TASKS = [{"title": f"Task {number}"} for number in range(200)]
SAME = [{"id": number + 1, **task} for number, task in enumerate(TASKS)]
CHANGED = [{**task, "title": "Changed"} for task in SAME]
BATCH = {"operations": [{"op": "update", "id": number, "task": {"title": "x"}} for number in range(1, 31)]}


def left(response: TestResponse) -> int:
    found = re.search(r"r=(\d+)", response.headers["RateLimit"])
    assert found, response.headers
    return int(found[1])


@pytest.fixture
def alice(make_app: Callable[..., Flask]) -> Person:
    """A user with 200 tasks, and a rate limit."""
    person = Person(make_app(RATE_LIMIT="100000/minute").test_client(), "alice")
    assert person.data("POST", "/import", json={"tasks": TASKS}).status_code == 200
    return person


@pytest.mark.parametrize(
    ("method", "path", "body", "units"),
    [
        ("GET", "/tasks/1", None, 1),
        ("GET", "/tasks?limit=20", None, 1),
        ("GET", "/tasks?limit=200", None, 3),
        ("GET", "/tasks?q=none", None, 5),
        ("GET", "/tasks?search=none", None, 5),
        ("GET", "/changes?limit=200", None, 3),
        ("GET", "/stats", None, 1),
        ("GET", "/export", None, 3),
        ("DELETE", "", None, 3),
        ("POST", "/tasks/1/move", {"after": 2}, 5),
        ("POST", "/tasks/batch", BATCH, 4),
        ("POST", "/import", {"tasks": SAME}, 3),
        ("POST", "/import", {"tasks": CHANGED}, 7),
    ],
)
def test_a_request_costs_the_documented_units(alice: Person, method: str, path: str, body: Any, units: int) -> None:
    before = left(alice.data("GET", "/tasks/1"))
    if path == "/import":
        body, before = {"tasks": as_stored(alice, *body["tasks"])}, left(alice.data("GET", "/tasks/1"))
    response = alice.data(method, path, json=body)
    assert response.status_code in (200, 204)
    assert before - left(response) == units


def test_an_unchanged_list_costs_one_unit(alice: Person) -> None:
    first = alice.data("GET", "/tasks?limit=200")
    unchanged = alice.data("GET", "/tasks?limit=200", headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, left(first) - left(unchanged)) == (304, 1)


def test_the_statistics_cost_a_unit_for_every_1000_tasks(alice: Person) -> None:
    for _ in range(9):
        alice.data("POST", "/import", json={"tasks": TASKS})
    before = left(alice.data("GET", "/tasks/1"))
    assert before - left(alice.data("GET", "/stats")) == 3


def retried_error(app: Flask) -> Exception:
    """Return an error of the database after which a transaction is executed again."""
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            return SerializationFailure("could not serialize access")
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def test_a_request_whose_transaction_is_repeated_is_charged_once(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, failures = queries.move, [retried_error(alice.client.application)]

    def fail_once(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return move(*arguments, **options)

    before = left(alice.data("GET", "/tasks/1"))
    monkeypatch.setattr(queries, "move", fail_once)
    response = alice.data("POST", "/tasks/1/move", json={"after": 2}, headers={"Idempotency-Key": "key"})
    assert (response.status_code, failures) == (200, [])
    assert before - left(response) == 5
