"""A clock on the wall that jumps opens no door and keeps none shut: an hour put forward, or back, or a day."""

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

ALICE = User("alice", "s-1")


class Wall:
    """The clock that the operating system shows; it stands, but for its jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, shown = 0.0, time.time()
        monkeypatch.setattr(time, "time", lambda: shown + self.ahead)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


def allowed(limiter: Limiter, times: int = 20) -> int:
    return sum(limiter.consume(ALICE.id, None)[0] for _ in range(times))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_gives_a_user_one_more_allowance_at_most(wall: Wall, jump: int):
    limiter = Limiter(Limit(5, 60), None, 0)
    assert allowed(limiter) == 5
    wall.ahead += jump
    assert allowed(limiter) <= 5
    assert allowed(limiter) == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_within_four_windows_of_a_jump_everybody_has_the_whole_allowance_again(wall: Wall, jump: int):
    limiter = Limiter(Limit(5, 60), None, 0)
    allowed(limiter)
    wall.ahead += jump
    allowed(limiter)
    assert 0 <= limiter.consume(ALICE.id, None)[2] <= 60, "what it tells to wait"
    wall.ahead += 240
    assert allowed(limiter) == 5


@pytest.mark.parametrize("jump", [-3_600, 3_600])
def test_a_jump_hides_no_sign_out_from_the_other_workers(make_app: Callable[..., Flask], wall: Wall, jump: int):
    with make_app().app_context():
        one, other = EndedSessions(), EndedSessions()
        assert not one.contains(ALICE)
        assert not other.contains(ALICE)
        wall.ahead += jump
        one.end(LogoutToken("n-1", ALICE, taskapi.database.base.now() + timedelta(minutes=2)))
        assert one.contains(ALICE)
        until(lambda: other.contains(ALICE))
