"""Large request bodies in progress are limited per user and per worker; small bodies need no permit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskapi.guard.large_bodies import MAX_PER_USER, MAX_PER_WORKER, permits
from taskapi.http import permits as mechanism
from taskapi.http.permits import HeldPermit
from taskapi.http.request import MAX_BODY_BYTES
from tests.conftest import Person
from tests.endless import EndlessBody

LARGE = {"tasks": [{"title": "x", "description": "y" * 9000} for _ in range(8)]}
SMALL = {"tasks": [{"title": "x"}]}


@pytest.fixture(autouse=True)
def all_permits_released(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no request wait for a permit, and check after each test that none is held any more."""
    monkeypatch.setattr(mechanism, "PERMIT_TIMEOUT", 0)
    yield
    if permits._lane._held:
        gc.collect()  # a collection of the whole suite's objects takes 0.2 s and more, so not after every test
    assert not permits._lane._held


def held(users: int, each: int) -> list[HeldPermit]:
    taken = [permits.acquire_now(f"user{number}") for number in range(users) for _ in range(each)]
    assert None not in taken
    return [one for one in taken if one]


def answer(person: Person, document: dict[str, Any] = LARGE) -> tuple[int, str | None]:
    response = person.data("POST", "/import", json=document)
    return response.status_code, response.headers.get("Retry-After")


def test_a_user_with_two_large_bodies_in_progress_gets_429_for_a_third_and_small_ones_are_served(app: Flask):
    user = Person(app.test_client(), "user0")
    taken = held(1, MAX_PER_USER)
    assert answer(user) == (429, "1")
    assert answer(user, SMALL)[0] == 200
    assert answer(Person(app.test_client(), "alice"))[0] == 200
    taken.pop().release()
    assert answer(user)[0] == 200
    taken.pop().release()


def test_beyond_the_limit_of_large_bodies_of_a_worker_it_is_503(app: Flask):
    taken = held(MAX_PER_WORKER // MAX_PER_USER, MAX_PER_USER)
    alice = Person(app.test_client(), "alice")
    assert answer(alice) == (503, "1")
    assert answer(alice, SMALL)[0] == 200
    assert alice.add()
    for one in taken:
        one.release()


def test_without_a_permit_no_byte_of_a_large_body_is_read(app: Flask):
    taken, body = held(1, MAX_PER_USER), EndlessBody()
    user = Person(app.test_client(), "user0")
    refused = user.data(
        "POST", "/import", environ_overrides=body.environ(CONTENT_TYPE="application/json", HTTP_X_CHUNKED="1")
    )
    assert (refused.status_code, body.count) == (429, 0)
    for one in taken:
        one.release()


@pytest.mark.parametrize("body", [b"x" * (MAX_BODY_BYTES + 1), b"[" + b" " * 2 * 1024 * 1024], ids=["bad", "413"])
def test_a_rejected_body_releases_its_permit(app: Flask, monkeypatch: pytest.MonkeyPatch, body: bytes):
    monkeypatch.setattr(app, "test_client_class", FlaskClient)  # leaves the response open
    alice = Person(app.test_client(), "alice")
    response = alice.data("POST", "/import", data=body, content_type="application/json")
    assert response.status_code in (400, 413)
    assert permits._lane._held == {"alice": 1}, "until the response is closed: until then the body is in memory"
    response.close()
    assert not permits._lane._held
