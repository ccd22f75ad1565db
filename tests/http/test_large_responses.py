"""A user, and a worker, has few large responses in progress; small ones never wait for them."""

from __future__ import annotations

import gc
import threading
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
from taskapi.http import large_responses, response
from taskapi.http.errors import ServiceUnavailable, TooManyRequests
from taskapi.http.large_responses import FEW, FIRST, LARGE, PER_USER, PER_WORKER, Permit, permits
from taskapi.tasks.listing import queries
from taskapi.tasks.models import Task
from taskapi.tasks.sync import routes as feed
from taskapi.tasks.transfer import exports
from tests.concurrency.test_slots import free
from tests.conftest import beyond_walls, token
from tests.tasks.test_pages import LONGEST, fill

LARGE_PATHS = ("/tasks", "/tasks?limit=20", "/tasks?trash=true", "/tasks?q=t", "/changes", "/export")


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """No permit is left over."""
    yield
    gc.collect()
    assert not permits._users


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_responses, "WAIT", 0.05)


class Reader:
    """A client that has sent a request and reads the response when it is told to."""

    def __init__(self, app: Flask, user: str = "alice") -> None:
        self._client = FlaskClient(app, app.response_class)  # the guard of the other client would read it
        self._user, self._headers = user, {"Authorization": f"Bearer {token(user)}"}

    def ask(self, path: str, method: str = "GET", **options: Any) -> TestResponse:
        return self._client.open(f"/api/{self._user}{path}", method=method, headers=self._headers, **options)


@pytest.fixture
def alice_reads(app: Flask) -> Reader:
    """Alice has twelve of the longest tasks, and as many in the trash."""
    fill(app, [LONGEST] * 24)
    with app.app_context(), beyond_walls().begin() as connection:
        connection.execute(update(Task).where(Task.id > 12).values(deleted_at=now()))
    return Reader(app)


@pytest.mark.parametrize("path", LARGE_PATHS)
@pytest.mark.usefixtures("impatient")
def test_a_user_who_does_not_read_large_responses_gets_no_third(app: Flask, alice_reads: Reader, path: str):
    unread = [alice_reads.ask(path) for _ in range(PER_USER)]
    assert [each.status_code for each in unread] == [200] * PER_USER

    for other in LARGE_PATHS:
        refused = alice_reads.ask(other)
        assert refused.status_code == 429, other
        assert refused.headers["Retry-After"] == "1"
        assert refused.get_json()["code"] == "too-many-requests"
    assert alice_reads.ask("/tasks?limit=1").status_code == 200, "a small response needs no permit"
    assert alice_reads.ask("/stats").status_code == 200

    unread.pop().close()
    with closing(alice_reads.ask(path)) as served:
        assert served.status_code == 200
    for each in unread:
        each.close()


@pytest.mark.usefixtures("impatient")
def test_a_small_list_is_served_while_all_permits_are_held_whatever_its_limit(app: Flask):
    fill(app, [None] * FIRST)
    reader, held = Reader(app), [Permit(f"user{n // PER_USER}") for n in range(PER_WORKER)]
    assert all(permit.take() for permit in held)
    for path in ("/tasks", "/tasks?limit=20", "/changes"):
        assert reader.ask(path).status_code == 200, path
    assert len(reader.ask("/tasks").get_json()) == FIRST
    for permit in held:
        permit.__exit__()


@pytest.mark.parametrize("path", ["/tasks", "/tasks?q=t", "/changes", "/tasks?limit=101"])
@pytest.mark.usefixtures("impatient")
def test_more_than_a_few_tasks_are_read_only_with_a_permit(app: Flask, path: str, monkeypatch: pytest.MonkeyPatch):
    fill(app, [None] * (FEW + 1))
    reader, held = Reader(app), [Permit("alice") for _ in range(PER_USER)]
    assert all(permit.take() for permit in held)
    assert reader.ask(path).status_code == 429
    held.pop().__exit__()
    body = reader.ask(path).get_json()
    assert len(body if isinstance(body, list) else body["items"]) == FEW + 1
    held.pop().__exit__()


@pytest.mark.usefixtures("impatient")
def test_without_a_permit_for_the_worker_it_is_503_and_for_another_user_200(app: Flask, alice_reads: Reader):
    held = [Permit(f"user{n // PER_USER}") for n in range(PER_WORKER - 1)]
    assert all(permit.take() for permit in held)
    one = alice_reads.ask("/tasks")
    assert one.status_code == 200, "the last one"
    refused = alice_reads.ask("/tasks")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    one.close()
    with closing(alice_reads.ask("/tasks")) as served:
        assert served.status_code == 200
    for permit in held:
        permit.__exit__()


def test_a_request_waits_for_a_permit_without_its_slot(app: Flask, alice_reads: Reader):
    unread = [alice_reads.ask("/tasks") for _ in range(PER_USER)]
    semaphore, answered = BoundedSemaphore(1), []

    def ask() -> None:
        with slots.held(semaphore):
            answered.append(alice_reads.ask("/tasks"))

    waiting = threading.Thread(target=ask)
    waiting.start()
    with semaphore:  # which it would hold otherwise
        unread.pop().close()
    waiting.join()
    assert [each.status_code for each in answered] == [200]
    for each in (*unread, *answered):
        each.close()


def test_a_slow_client_is_refused_after_the_time_that_is_promised(app: Flask, monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []
    monkeypatch.setattr(permits, "wait", lambda _user, seconds: asked.append(seconds))
    with app.test_request_context(), pytest.raises(ServiceUnavailable):
        monkeypatch.setattr(permits, "take", lambda _user: None)
        Permit("alice").wait()
    monkeypatch.setattr(permits, "held_by", lambda _user: PER_USER)
    with app.test_request_context(), pytest.raises(TooManyRequests):
        Permit("alice").wait()
    assert asked == [large_responses.WAIT] * 2


@pytest.mark.parametrize("path", ["/tasks", "/changes", "/export"])
def test_a_failure_leaves_no_permit(app: Flask, alice_reads: Reader, path: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("gone")

    for module, name in ((queries, "state_and_page"), (feed, "read_state"), (exports, "_export_chunk")):
        monkeypatch.setattr(module, name, fail)
    for _ in range(PER_USER + 1):
        assert alice_reads.ask(path).status_code == 503


@pytest.mark.parametrize("path", ["/tasks", "/changes", "/export"])
def test_a_head_leaves_no_permit(alice_reads: Reader, path: str):
    for _ in range(PER_USER + 1):
        with closing(alice_reads.ask(path, "HEAD")) as answered:
            assert (answered.status_code, answered.data) == (200, b"")


def test_a_response_that_another_one_replaces_leaves_no_permit(app: Flask):
    with app.test_request_context():
        for _ in range(PER_USER + 1):
            with Permit("alice") as permit:
                assert permit.take()
                permit.keep(response.json_response("x" * LARGE), LARGE + 2)
            gc.collect()


def test_a_batch_waits_before_it_writes(app: Flask, alice_reads: Reader, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(large_responses, "WAIT", 0.05)
    toggles = [{"op": "complete", "id": n, "completed": True} for n in range(1, 13)]
    unread = [alice_reads.ask("/tasks/batch", "POST", json={"operations": toggles}) for _ in range(PER_USER)]
    assert {each.status_code for each in unread} == {200}
    back = [{"op": "complete", "id": 1, "completed": False}]
    assert alice_reads.ask("/tasks/batch", "POST", json={"operations": back}).status_code == 429
    assert alice_reads.ask("/tasks/1").get_json()["completed"] is True
    for each in unread:
        each.close()
    for _ in range(PER_USER + 1):  # a small response is not waited for
        assert alice_reads.ask("/tasks/batch", "POST", json={"operations": back[:1]}).status_code == 200


def test_an_export_holds_a_slot_while_it_reads_and_none_while_it_sends(
    app: Flask, alice_reads: Reader, monkeypatch: pytest.MonkeyPatch
):
    semaphore, reading = BoundedSemaphore(1), []
    read = exports._export_chunk

    def piece(*arguments: Any, **options: Any) -> Any:
        reading.append(free(semaphore))
        return read(*arguments, **options)

    monkeypatch.setattr(exports, "_export_chunk", piece)
    with app.test_request_context():
        g.user = User("alice")
        with slots.held(semaphore):
            rows = exports.export(g.user, trash=True)
        sending = [free(semaphore) for _ in rows]
    assert reading == [False] * 4
    assert sending == [True] * 24


def test_a_stream_that_is_read_too_slowly_is_cut_off(app: Flask, alice_reads: Reader, monkeypatch: pytest.MonkeyPatch):
    with closing(alice_reads.ask("/export")) as exported:
        pieces = exported.iter_encoded()
        next(pieces)
    monkeypatch.setattr(response, "STREAM_TIMEOUT", -1)
    with pytest.raises(ConnectionResetError):
        alice_reads.ask("/export")
