"""Permits limit requests in progress per user and per worker; others wait without a slot, in turn, or are refused."""

from __future__ import annotations

import threading
import time
from threading import BoundedSemaphore
from typing import Any

import pytest
from flask import Flask, g

from taskapi.auth.tokens import User
from taskapi.concurrency import slots
from taskapi.concurrency.lanes import Lane
from taskapi.http import permits
from taskapi.http.errors import ServiceUnavailable, TooManyRequests
from taskapi.http.permits import PERMIT_TIMEOUT, HeldPermit, Permits
from tests.concurrency.test_slots import free
from tests.waiting import WAIT_LIMIT, until


@pytest.fixture
def tea() -> Permits:
    """Permits for one kind of requests: two for a user, three for a worker."""
    return Permits("cups of tea", per_user=2, per_worker=3)


def take(permits: Permits, *users: str) -> list[HeldPermit]:
    """Acquire a permit for each of the users without waiting."""
    taken = [permits.acquire_now(user) for user in users]
    assert None not in taken
    return [each for each in taken if each]


def test_a_user_has_a_bounded_number_of_permits_and_another_user_still_gets_one(tea: Permits):
    held = take(tea, "alice", "alice")
    assert tea.acquire_now("alice") is None
    take(tea, "bob").pop().release()
    held.pop().release()
    take(tea, "alice").pop().release()


def test_a_user_who_holds_all_of_theirs_is_refused_with_429_and_others_beyond_the_workers_with_503(tea: Permits):
    held = take(tea, "alice", "alice", "bob")
    with pytest.raises(TooManyRequests, match="You have 2 cups of tea in progress") as own:
        tea.acquire("alice", 0)
    with pytest.raises(ServiceUnavailable, match="Too many cups of tea") as others:
        tea.acquire("bob", 0)
    assert own.value.headers == others.value.headers == {"Retry-After": "1"}
    held.pop().release()
    tea.acquire("bob", 0).release()


def test_a_permit_that_becomes_free_goes_to_the_waiting_users_in_turn(tea: Permits):
    held, order = take(tea, "alice", "alice", "bob"), []

    def wait(user: str) -> None:
        with tea.acquire(user, WAIT_LIMIT):
            order.append(user)

    threads = []
    for number, user in enumerate(("alice", "alice", "bob", "carol"), 1):
        threads.append(threading.Thread(target=wait, args=[user]))
        threads[-1].start()
        until(lambda number=number: tea._lane.waiting == number)
    held[2].release()  # Bob's: alice is full, so his waiting request is first, then Carol's
    until(lambda: tea._lane.waiting == 2)
    assert order == ["bob", "carol"]
    for each in held:
        each.release()
    for thread in threads:
        thread.join(WAIT_LIMIT)
    assert order == ["bob", "carol", "alice", "alice"]


@pytest.mark.parametrize(("timeout", "seconds"), [(None, PERMIT_TIMEOUT), (10, 10)])
def test_a_request_waits_without_its_slot_and_as_long_as_documented(
    tea: Permits, timeout: float | None, seconds: float, monkeypatch: pytest.MonkeyPatch
):
    semaphore, waits = BoundedSemaphore(1), []
    acquire = Lane.acquire

    def record(lane: Lane, deadline: float, user: str) -> None:
        waits.append((free(semaphore), deadline))
        acquire(lane, 0, user)

    held = take(tea, "alice", "alice")
    monkeypatch.setattr(Lane, "acquire", record)
    before = time.monotonic()
    with slots.held(semaphore):
        with pytest.raises(TooManyRequests):
            tea.acquire("alice", timeout)
        assert not free(semaphore)
    ((was_free, deadline),) = waits
    assert was_free
    assert before + seconds <= deadline <= time.monotonic() + seconds
    for each in held:
        each.release()


def test_a_permit_is_released_once_whoever_releases_it(tea: Permits):
    (held, _other) = take(tea, "alice", "alice")
    held.release()
    with held:
        pass
    del held
    take(tea, "alice")
    assert tea._lane._held["alice"] == 1, "a permit that is no longer referenced is released"


def test_a_permit_can_be_released_by_a_garbage_collection_within_the_lock(tea: Permits):
    (held,) = take(tea, "alice")
    with tea._lane._mutex:
        held.release()
    assert not tea._lane._held


def test_a_limited_view_runs_with_a_permit_of_the_current_user(app: Flask, tea: Permits):
    @tea.limit
    def view(cup: int) -> Any:
        return cup, tea._lane._held["alice"]

    with app.test_request_context():
        g.user = User("alice")
        assert view(7) == (7, 1)
        assert not tea._lane._held
        held = take(tea, "alice", "alice")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(TooManyRequests):
            patch.setattr(permits, "PERMIT_TIMEOUT", 0)
            view(7)
    for each in held:
        each.release()
