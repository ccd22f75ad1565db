"""A wall clock that jumps by 90 seconds, an hour or a day changes neither who is let in nor how often."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

import taskapi.database.base
from taskapi.auth.logout_tokens import LogoutToken
from taskapi.auth.sessions import EndedSessions
from taskapi.auth.tokens import User
from taskapi.guard.rate_limit import Limit, Limiter
from tests.waiting import until

JUMPS = [-86_400, -3_600, -90, 90, 3_600, 86_400]
"""Seconds by which the clock jumps."""

ALICE = User("alice", "s-1")


class WallClock:
    """Replacement of `time.time`: it stands still except for jumps of `offset` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset, start = 0.0, time.time()
        monkeypatch.setattr(time, "time", lambda: start + self.offset)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


def count_allowed(limiter: Limiter, attempts: int = 20) -> int:
    """Return how many of some requests of alice the limiter allows."""
    return sum(limiter.consume(ALICE.id, None)[0] for _ in range(attempts))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_of_the_clock_allows_at_most_one_more_quota(wall_clock: WallClock, jump: int):
    limiter = Limiter(Limit(5, 60), None, 0)
    assert count_allowed(limiter) == 5
    wall_clock.offset += jump
    assert count_allowed(limiter) <= 5
    assert count_allowed(limiter) == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_four_windows_after_a_jump_of_the_clock_the_whole_quota_is_available(wall_clock: WallClock, jump: int):
    limiter = Limiter(Limit(5, 60), None, 0)
    count_allowed(limiter)
    wall_clock.offset += jump
    count_allowed(limiter)
    assert 0 <= limiter.consume(ALICE.id, None)[2] <= 60, "Retry-After"
    wall_clock.offset += 240
    assert count_allowed(limiter) == 5


@pytest.mark.parametrize("jump", [-3_600, 3_600])
def test_a_sign_out_after_a_jump_of_the_clock_reaches_the_other_workers(
    make_app: Callable[..., Flask], wall_clock: WallClock, jump: int
):
    with make_app().app_context():
        one, other = EndedSessions(), EndedSessions()
        assert not one.contains(ALICE)
        assert not other.contains(ALICE)
        wall_clock.offset += jump
        one.end(LogoutToken("n-1", ALICE, taskapi.database.base.now() + timedelta(minutes=2)))
        assert one.contains(ALICE)
        until(lambda: other.contains(ALICE))
