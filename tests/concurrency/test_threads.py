"""Native threads: other greenlets of the worker run while a call blocks inside C."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import gevent
import pytest

from taskapi.concurrency.threads import NativeThreads

COUNT = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT count(*) FROM n"


@pytest.fixture
def threads() -> Iterator[NativeThreads]:
    before = sys.getswitchinterval()
    yield NativeThreads(2)
    sys.setswitchinterval(before)


def do_nothing() -> None:
    return


def test_other_greenlets_run_while_a_call_blocks(threads: NativeThreads):
    """The call ends only after steps of another greenlet: executed in the worker's thread it would never end."""
    stepped = threading.Event()

    def step() -> None:
        for _ in range(5):
            gevent.sleep(0)
        stepped.set()

    gevent.spawn(step)
    assert threads.run(lambda: stepped.wait(60), do_nothing)


def test_an_error_of_the_call_is_raised_where_it_was_called(threads: NativeThreads, capfd: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        threads.run(fail, do_nothing)
    assert capfd.readouterr().err == "", "gevent printed it"


def test_a_killed_request_cancels_its_call_and_waits_for_it(threads: NativeThreads):
    """The connection returns to the pool afterwards, so the call must no longer use it."""
    ended = []
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:

        def search() -> None:
            try:
                connection.execute(COUNT, (10**12,)).fetchall()
            finally:
                ended.append("call")

        def request() -> None:
            try:
                threads.run(search, connection.interrupt)
            finally:
                ended.append("request")

        greenlet = gevent.spawn(request)
        gevent.sleep(0.05)
        greenlet.kill()
        assert ended == ["call", "request"]
        assert connection.execute(COUNT, (10,)).fetchall() == [(10,)]
