"""Lanes serve users in turn, at most one place for each, and lose no place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import gevent
import pytest

import taskapi.concurrency.lanes
from taskapi.concurrency.lanes import Lane, LaneTimeout
from tests.waiting import WAIT_LIMIT, until


def soon() -> float:
    return time.monotonic() + WAIT_LIMIT


def test_places_are_handed_over_to_the_requests_of_a_user_in_the_order_of_waiting():
    lane, order = Lane(1), []

    def wait(number: int) -> None:
        with lane.held(soon()):
            order.append(number)

    assert lane.acquire_now()
    assert not lane.acquire_now()
    with ThreadPoolExecutor(5) as pool:
        for number in range(5):
            pool.submit(wait, number)
            until(lambda number=number: lane.waiting == number + 1)
        lane.release()
    assert order == [0, 1, 2, 3, 4]
    assert lane.acquire_now(), "the place is free again"


def test_a_place_that_is_handed_over_cannot_be_taken_by_a_newcomer():
    lane = Lane(1)
    assert lane.acquire_now()
    with ThreadPoolExecutor(1) as pool:
        handed, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            with lane.held(soon()):
                handed.set()
                go_on.wait(WAIT_LIMIT)

        waiting = pool.submit(wait)
        until(lambda: lane.waiting == 1)
        lane.release()
        assert not lane.acquire_now()
        assert handed.wait(WAIT_LIMIT)
        go_on.set()
        waiting.result(WAIT_LIMIT)


def test_after_the_deadline_waiting_ends_and_the_place_is_not_lost():
    lane = Lane(1)
    assert lane.acquire_now()
    with pytest.raises(LaneTimeout, match="took too long"), lane.held(time.monotonic() + 0.01):
        raise AssertionError
    assert lane.waiting == 0
    lane.release()
    with lane.held(time.monotonic()):
        assert not lane.acquire_now()


def test_requests_beyond_the_queue_limit_are_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(taskapi.concurrency.lanes, "MAX_WAITING", 2)
    lane = Lane(1)
    assert lane.acquire_now()
    with ThreadPoolExecutor(2) as pool:

        def wait() -> None:
            with lane.held(soon()):
                pass

        waiting: list[Future[None]] = [pool.submit(wait) for _ in range(2)]
        until(lambda: lane.waiting == 2)
        with pytest.raises(LaneTimeout, match="too many"), lane.held(soon()):
            raise AssertionError
        lane.release()
        for one in waiting:
            one.result(WAIT_LIMIT)


def test_one_user_cannot_fill_the_queue(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(taskapi.concurrency.lanes, "MAX_WAITING_OF_USER", 2)
    lane = Lane(1)
    assert lane.acquire_now()
    with ThreadPoolExecutor(3) as pool:

        def wait(user: str) -> None:
            with lane.held(soon(), user):
                pass

        waiting: list[Future[None]] = [pool.submit(wait, user) for user in ("alice", "alice", "mallory")]
        until(lambda: lane.waiting == 3)
        with pytest.raises(LaneTimeout, match="of this user"), lane.held(soon(), "alice"):
            raise AssertionError
        lane.release()
        for one in waiting:
            one.result(WAIT_LIMIT)


def test_one_owner_holds_one_place_and_others_pass_in_the_queue():
    lane, order = Lane(2), []

    def wait(owner: str) -> None:
        with lane.held(soon(), owner):
            order.append(owner)

    assert lane.acquire_now("alice")
    assert not lane.acquire_now("alice"), "although a place is free"
    with ThreadPoolExecutor(2) as pool:
        alice = pool.submit(wait, "alice")
        until(lambda: lane.waiting == 1)
        pool.submit(wait, "bob").result(WAIT_LIMIT)
        assert not alice.done()
        lane.release("alice")
        alice.result(WAIT_LIMIT)
    assert order == ["bob", "alice"]
    assert lane.acquire_now("alice")
    assert lane.acquire_now("bob")
    assert not lane.acquire_now("carol")


def test_users_are_served_in_turn_whatever_the_number_of_their_waiting_requests():
    lane, order = Lane(1), []

    def wait(name: str) -> None:
        with lane.held(soon(), name[0]):
            order.append(name)

    assert lane.acquire_now("heavy")
    names = ["h1", "h2", "h3", "i1", "i2", "alice", "h4", "bob"]
    with ThreadPoolExecutor(len(names)) as pool:
        for number, name in enumerate(names, 1):
            pool.submit(wait, name)
            until(lambda number=number: lane.waiting == number)
        lane.release("heavy")
    assert order == ["h1", "i1", "alice", "bob", "h2", "i2", "h3", "h4"]


def test_a_user_who_rests_gets_no_place_while_others_do(monkeypatch: pytest.MonkeyPatch):
    timers: list[tuple[float, Callable[[], None]]] = []

    class Timer:
        def __init__(self, seconds: float, call: Callable[..., None], arguments: list[str]) -> None:
            timers.append((seconds, lambda: call(*arguments)))

        def start(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    lane = Lane(1)
    assert lane.acquire_now("heavy")

    def wait() -> None:
        with lane.held(soon(), "heavy"):
            pass

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        until(lambda: lane.waiting == 1)
        lane.release("heavy", rest=0.2)
        with lane.held(soon(), "alice"):
            pass
        assert not waiting.done()
        assert not lane.acquire_now("heavy")
        ((seconds, end_rest),) = timers
        assert seconds == 0.2
        end_rest()
        waiting.result(WAIT_LIMIT)
    assert lane.acquire_now("heavy")


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_waiting_request_that_is_killed_loses_no_place(monkeypatch: pytest.MonkeyPatch, *, handed_over: bool):
    lane = Lane(1)
    assert lane.acquire_now()

    class Killed:
        """A lock whose wait raises as gunicorn's kill does, before or after the place was passed on."""

        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                if handed_over:
                    lane.release()
                raise gevent.GreenletExit
            return True

        def release(self) -> None:
            pass

    monkeypatch.setattr(threading, "Lock", Killed)
    with pytest.raises(gevent.GreenletExit), lane.held(soon()):
        raise AssertionError
    assert lane.waiting == 0
    if not handed_over:
        lane.release()
    assert lane.acquire_now()
