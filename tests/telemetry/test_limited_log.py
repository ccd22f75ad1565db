"""Repeated events: one line per kind and minute."""

from __future__ import annotations

import logging

import pytest

from taskapi.telemetry.limited_log import INTERVAL, MAX_KINDS, LimitedLog, LimitRepeats
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


def test_a_filter_lets_one_record_of_each_message_format_through_per_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
):
    log = logging.getLogger("a.library")
    limit = LimitRepeats(clock=clock)
    log.addFilter(limit)
    try:
        for number in range(1000):
            log.warning("failed %d", number)
        log.error("failed %d", 1)
        clock.now += INTERVAL
        log.warning("failed %d", 1000)
    finally:
        log.removeFilter(limit)
    assert caplog.messages == ["failed 0", "failed 1", "failed 1000 (999 more of this kind since the last line)"]
