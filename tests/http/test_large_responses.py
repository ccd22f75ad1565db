"""Large responses in progress are limited per user and per worker; small responses need no permit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing
from threading import BoundedSemaphore
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from taskapi.auth.tokens import User
from taskapi.concurrency import slots
from taskapi.database.base import now
from taskapi.database.failures import DatabaseUnavailable
from taskapi.http import permits as mechanism
from taskapi.http import response
from taskapi.http.large_responses import (
    LARGE_RESPONSE_BYTES,
    MAX_PER_USER,
    MAX_PER_WORKER,
    PROBE_ROWS,
    SMALL_PAGE,
    Permit,
    permits,
)
from taskapi.tasks.listing import queries
from taskapi.tasks.models import Task
from taskapi.tasks.sync import routes as feed
from taskapi.tasks.transfer import export_rows
from tests.concurrency.test_slots import free
from tests.conftest import superuser_engine, token
from tests.tasks.test_pages import LONGEST, fill

LARGE_PATHS = ("/tasks", "/tasks?limit=20", "/tasks?trash=true", "/tasks?q=t", "/changes", "/export")


@pytest.fixture(autouse=True)
def all_permits_released() -> Iterator[None]:
    """Check after each test that no permit is held any more."""
    yield
    if permits._lane._held:
        gc.collect()  # a collection of the whole suite's objects takes 0.2 s and more, so not after every test
    assert not permits._lane._held


@pytest.fixture
def refuse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the time that a request waits for a permit to 0."""
    monkeypatch.setattr(mechanism, "PERMIT_TIMEOUT", 0)


class Reader:
    """A client that sends requests, and leaves their responses unread until they are read or closed."""

    def __init__(self, app: Flask, user: str = "alice") -> None:
        self._client = FlaskClient(app, app.response_class)  # GuardedClient would read the response
        self._user, self._headers = user, {"Authorization": f"Bearer {token(user)}"}

    def send(self, path: str, method: str = "GET", **options: Any) -> TestResponse:
        return self._client.open(f"/api/{self._user}{path}", method=method, headers=self._headers, **options)


@pytest.fixture
def alice(app: Flask) -> Reader:
    """A client of Alice, who has twelve of the longest tasks, and as many in the trash."""
    fill(app, [LONGEST] * 24)
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(update(Task).where(Task.id > 12).values(deleted_at=now()))
    return Reader(app)


@pytest.mark.parametrize("path", LARGE_PATHS)
@pytest.mark.usefixtures("refuse_at_once")
def test_a_user_with_two_unread_large_responses_gets_429_for_a_third(app: Flask, alice: Reader, path: str):
    unread = [alice.send(path) for _ in range(MAX_PER_USER)]
    assert [each.status_code for each in unread] == [200] * MAX_PER_USER

    for other in LARGE_PATHS:
        refused = alice.send(other)
        assert refused.status_code == 429, other
        assert refused.headers["Retry-After"] == "1"
        assert refused.get_json()["code"] == "too-many-requests"
    assert alice.send("/tasks?limit=1").status_code == 200, "a small response needs no permit"
    assert alice.send("/stats").status_code == 200

    unread.pop().close()
    with closing(alice.send(path)) as served:
        assert served.status_code == 200
    for each in unread:
        each.close()


@pytest.mark.usefixtures("refuse_at_once")
def test_a_small_list_needs_no_permit_whatever_its_limit(app: Flask):
    fill(app, [None] * PROBE_ROWS)
    reader, held = Reader(app), [Permit(f"user{n // MAX_PER_USER}") for n in range(MAX_PER_WORKER)]
    assert all(permit.acquire_now() for permit in held)
    for path in ("/tasks", "/tasks?limit=20", "/changes"):
        assert reader.send(path).status_code == 200, path
    assert len(reader.send("/tasks").get_json()) == PROBE_ROWS
    for permit in held:
        permit.__exit__()


@pytest.mark.parametrize("path", ["/tasks", "/tasks?q=t", "/changes", "/tasks?limit=101"])
@pytest.mark.usefixtures("refuse_at_once")
def test_a_page_of_more_than_few_tasks_needs_a_permit(app: Flask, path: str, monkeypatch: pytest.MonkeyPatch):
    fill(app, [None] * (SMALL_PAGE + 1))
    reader, held = Reader(app), [Permit("alice") for _ in range(MAX_PER_USER)]
    assert all(permit.acquire_now() for permit in held)
    assert reader.send(path).status_code == 429
    held.pop().__exit__()
    body = reader.send(path).get_json()
    assert len(body if isinstance(body, list) else body["items"]) == SMALL_PAGE + 1
    held.pop().__exit__()


@pytest.mark.usefixtures("refuse_at_once")
def test_beyond_the_limit_of_large_responses_of_a_worker_it_is_503(app: Flask, alice: Reader):
    held = [Permit(f"user{n // MAX_PER_USER}") for n in range(MAX_PER_WORKER - 1)]
    assert all(permit.acquire_now() for permit in held)
    one = alice.send("/tasks")
    assert one.status_code == 200, "the last free permit"
    refused = alice.send("/tasks")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    one.close()
    with closing(alice.send("/tasks")) as served:
        assert served.status_code == 200
    for permit in held:
        permit.__exit__()


@pytest.mark.parametrize("path", ["/tasks", "/changes", "/export"])
def test_a_failing_request_releases_its_permit(app: Flask, alice: Reader, path: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("gone")

    for module, name in (
        (queries, "state_and_page"),
        (feed.queries, "state_and_first_page"),
        (export_rows, "_export_chunk"),
    ):
        monkeypatch.setattr(module, name, fail)
    for _ in range(MAX_PER_USER + 1):
        assert alice.send(path).status_code == 503


@pytest.mark.parametrize("path", ["/tasks", "/changes", "/export"])
def test_a_head_request_releases_its_permit(alice: Reader, path: str):
    for _ in range(MAX_PER_USER + 1):
        with closing(alice.send(path, "HEAD")) as responses:
            assert (responses.status_code, responses.data) == (200, b"")


def test_a_response_that_another_one_replaces_releases_its_permit(app: Flask):
    with app.test_request_context():
        for _ in range(MAX_PER_USER + 1):
            with Permit("alice") as permit:
                assert permit.acquire_now()
                permit.hold_until_closed(response.json_response("x" * LARGE_RESPONSE_BYTES), LARGE_RESPONSE_BYTES + 2)


@pytest.mark.usefixtures("refuse_at_once")
def test_a_batch_acquires_its_permit_before_it_writes(alice: Reader):
    toggles = [{"op": "complete", "id": n, "completed": True} for n in range(1, 13)]
    unread = [alice.send("/tasks/batch", "POST", json={"operations": toggles}) for _ in range(MAX_PER_USER)]
    assert {each.status_code for each in unread} == {200}
    back = [{"op": "complete", "id": 1, "completed": False}]
    assert alice.send("/tasks/batch", "POST", json={"operations": back}).status_code == 429
    assert alice.send("/tasks/1").get_json()["completed"] is True
    for each in unread:
        each.close()
    for _ in range(MAX_PER_USER + 1):  # a small response releases its permit at once
        assert alice.send("/tasks/batch", "POST", json={"operations": back[:1]}).status_code == 200


def test_an_export_holds_a_slot_while_it_reads_and_none_while_it_sends(
    app: Flask, alice: Reader, monkeypatch: pytest.MonkeyPatch
):
    semaphore, reading = BoundedSemaphore(1), []
    read = export_rows._export_chunk

    def piece(*arguments: Any, **options: Any) -> Any:
        reading.append(free(semaphore))
        return read(*arguments, **options)

    monkeypatch.setattr(export_rows, "_export_chunk", piece)
    with app.test_request_context():
        g.user = User("alice")
        with slots.held(semaphore):
            rows = export_rows.export(g.user, trash=True)
        sending = [free(semaphore) for _ in rows]
    assert reading == [False] * 4
    assert sending == [True] * 24


def test_a_stream_that_is_read_too_slowly_is_closed(app: Flask, alice: Reader, monkeypatch: pytest.MonkeyPatch):
    with closing(alice.send("/export")) as exported:
        pieces = exported.iter_encoded()
        next(pieces)
    monkeypatch.setattr(response, "STREAM_TIMEOUT", -1)
    with pytest.raises(ConnectionResetError):
        alice.send("/export")
