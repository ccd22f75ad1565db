"""Repeated events: one line per kind and minute."""

from __future__ import annotations

import logging

import pytest

from taskapi.auth.limited_log import INTERVAL, MAX_KINDS, LimitedLog
from tests.auth.conftest import Clock


@pytest.fixture
def limited(clock: Clock) -> LimitedLog:
    return LimitedLog(logging.getLogger("taskapi.auth"), clock=clock)


def test_the_first_event_of_each_kind_is_written_at_once_and_later_ones_are_counted(
    limited: LimitedLog, clock: Clock, caplog: pytest.LogCaptureFixture
):
    for number in range(1000):
        limited.write(logging.WARNING, "a", f"a {number}")
    limited.write(logging.WARNING, "b", "b")
    clock.now += INTERVAL
    limited.write(logging.WARNING, "a", "a again")
    clock.now += INTERVAL
    limited.write(logging.WARNING, "a", "a at last")
    assert caplog.messages == [
        "a 0",
        "b",
        "a again (999 more of this kind since the last line)",
        "a at last",
    ]


def test_the_number_of_kinds_is_bounded(limited: LimitedLog, caplog: pytest.LogCaptureFixture):
    for number in range(10 * MAX_KINDS):
        limited.write(logging.WARNING, str(number), str(number))
    assert len(caplog.messages) == MAX_KINDS + 1
