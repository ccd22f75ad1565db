"""Conditions that fail many requests are logged at once and then once a minute, with the number of the others."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import pytest
from flask import Flask

from taskapi.telemetry.limited_log import LimitedLog, RepeatCounter, limited_log
from tests.auth.conftest import Clock
from tests.conftest import Person, build

REQUESTS = 30


@pytest.fixture
def minutes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all limits on log lines that are made during the test."""
    make = RepeatCounter.__init__
    monkeypatch.setattr(RepeatCounter, "__init__", lambda counter, _=None: make(counter, clock))
    return clock


def test_an_unavailable_database_is_one_line_a_minute(minutes: Clock, caplog: pytest.LogCaptureFixture):
    with socket.socket() as bound:  # refuses connections: it is bound, and does not listen
        bound.bind(("127.0.0.1", 0))
        app = build(f"postgresql://taskapi@127.0.0.1:{bound.getsockname()[1]}/taskapi", RATE_LIMIT="off")
        alice = Person(app.test_client(), "alice")
        assert {alice.get().status_code for _ in range(REQUESTS)} == {503}
        minutes.now += 60
        assert alice.get().status_code == 503
    lines = [line for line in caplog.messages if "database unavailable" in line]
    assert len(lines) == 2
    assert lines[1].endswith(f"({REQUESTS - 1} more of this kind since the last line)")


def test_an_unavailable_redis_is_one_line_a_minute_although_it_is_tried_every_five_seconds(
    minutes: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make_app: Callable[..., Flask]
):
    monkeypatch.setattr("taskapi.guard.rate_limit.REDIS_PAUSE", 0.0)
    alice = Person(make_app(REDIS_URL="redis://127.0.0.1:1/0").test_client(), "alice")
    for _ in range(REQUESTS):
        assert alice.get().status_code == 200
    assert len([line for line in caplog.messages if "rate limits are off" in line]) == 1
    minutes.now += 60
    alice.get()
    assert f"({REQUESTS - 1} more of this kind" in caplog.messages[-1]


def test_a_defect_has_its_stack_trace_once_a_minute_and_a_line_for_each_request(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    app = make_app()
    monkeypatch.setattr(app.extensions["taskapi.verifier"], "verify", lambda _: 1 / 0)
    alice = Person(app.test_client(), "alice")
    for number in range(3):
        assert alice.get(headers={"X-Request-Id": f"id-{number}"}).status_code == 500
    lines = [line for line in caplog.messages if "ZeroDivisionError" in line]
    assert [f"in request id-{number}" in line for number, line in enumerate(lines)] == [True] * 3
    assert ["Traceback" in line or ", line " in line for line in lines] == [True, False, False]


def test_each_application_has_one_limit_for_a_logger(make_app: Callable[..., Flask]):
    one, other, log = make_app(), make_app(), logging.getLogger("taskapi.somewhere")
    assert isinstance(limited_log(one, log), LimitedLog)
    assert limited_log(one, log) is limited_log(one, log)
    assert limited_log(one, log) is not limited_log(other, log)
