"""Requests that wait for a read of the ended sessions by another request hold no slot, and do not read themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask

from taskapi.auth import queries
from taskapi.auth.logout_tokens import LogoutToken
from taskapi.auth.sessions import REFRESH_INTERVAL, EndedSessions
from taskapi.auth.tokens import User
from taskapi.concurrency import slots
from taskapi.database.base import now
from taskapi.database.failures import DatabaseUnavailable
from tests.auth.conftest import Clock
from tests.waiting import WAIT_LIMIT, until

ALICE = User("alice", "s-1")
SLOTS = 4


class SlowReads:
    """Replaces `queries.ended_sessions_since`; each read blocks until `finish` is released."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Semaphore(0)
        self.finish = threading.Semaphore(0)
        self.fail = False

    def __call__(self, since: int, most: int) -> Sequence[queries.EndedSessionEntry]:
        self.count += 1
        self.begun.release()
        assert self.finish.acquire(timeout=WAIT_LIMIT)
        if self.fail:
            raise DatabaseUnavailable("a test")
        return []


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> SlowReads:
    reads = SlowReads()
    monkeypatch.setattr(queries, "ended_sessions_since", reads)
    return reads


class Worker:
    """Runs requests in threads that hold a concurrency slot each."""

    def __init__(self, app: Flask, pool: ThreadPoolExecutor) -> None:
        self._app, self._pool = app, pool
        self._slots = threading.BoundedSemaphore(SLOTS)
        self.arrived = threading.Semaphore(0)

    def send(self, request: Callable[[], object]) -> Future[object]:
        def run() -> object:
            with self._app.app_context(), slots.held(self._slots):
                self.arrived.release()
                return request()

        return self._pool.submit(run)

    def free_slots(self) -> int:
        return self._slots._value


@pytest.fixture
def worker(app: Flask) -> Iterator[Worker]:
    with ThreadPoolExecutor(20) as pool:
        yield Worker(app, pool)


def test_requests_that_wait_for_a_read_of_ended_sessions_hold_no_slot(
    worker: Worker, clock: Clock, reads: SlowReads
) -> None:
    view = EndedSessions(clock=clock)
    requests = [worker.send(lambda: view.contains(ALICE)) for _ in range(12)]
    for _ in requests:  # more requests than slots, so some have released theirs
        assert worker.arrived.acquire(timeout=WAIT_LIMIT)
    until(lambda: worker.free_slots() == SLOTS - 1, otherwise="only the request that reads holds a slot")
    # However long the read takes, it is fresh enough for the requests that wait for it.
    clock.now += 10 * REFRESH_INTERVAL
    reads.finish.release()
    assert [request.result(WAIT_LIMIT) for request in requests] == [False] * 12
    assert reads.count == 1
    assert worker.free_slots() == SLOTS


def test_a_request_that_arrives_long_after_a_read_began_reads_again(
    worker: Worker, clock: Clock, reads: SlowReads
) -> None:
    view = EndedSessions(clock=clock)
    first = worker.send(lambda: view.contains(ALICE))
    assert reads.begun.acquire(timeout=WAIT_LIMIT)
    clock.now += REFRESH_INTERVAL
    second = worker.send(lambda: view.contains(ALICE))
    until(lambda: worker.free_slots() == SLOTS - 1)
    reads.finish.release(2)
    assert [first.result(WAIT_LIMIT), second.result(WAIT_LIMIT)] == [False, False]
    assert reads.count == 2


def test_requests_that_wait_for_a_read_that_fails_fail_with_it(worker: Worker, clock: Clock, reads: SlowReads) -> None:
    reads.fail = True
    view = EndedSessions(clock=clock)
    requests = [worker.send(lambda: view.contains(ALICE)) for _ in range(12)]
    for _ in requests:
        assert worker.arrived.acquire(timeout=WAIT_LIMIT)
    until(lambda: worker.free_slots() == SLOTS - 1)
    clock.now += 1
    reads.finish.release()
    assert all(isinstance(request.exception(WAIT_LIMIT), DatabaseUnavailable) for request in requests)
    assert reads.count == 1


def test_a_logout_that_waits_for_a_read_holds_no_slot(worker: Worker, clock: Clock, reads: SlowReads) -> None:
    view = EndedSessions(clock=clock)
    first = worker.send(lambda: view.contains(ALICE))
    assert reads.begun.acquire(timeout=WAIT_LIMIT)
    token = LogoutToken("n-1", User("mallory", "s-1"), now() + timedelta(seconds=120))
    sign_out = worker.send(lambda: view.end(token))
    assert worker.arrived.acquire(timeout=WAIT_LIMIT)
    assert worker.arrived.acquire(timeout=WAIT_LIMIT)
    until(lambda: worker.free_slots() == SLOTS - 1)
    reads.finish.release(2)
    assert first.result(WAIT_LIMIT) is False
    assert sign_out.result(WAIT_LIMIT) is None
    worker.send(lambda: view.contains(ALICE)).result(WAIT_LIMIT)
    assert reads.count == 2, "the read in progress began before the logout"
