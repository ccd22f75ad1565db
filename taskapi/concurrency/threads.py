"""Run calls that block inside C in native threads, while the other requests of a gevent worker go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

SWITCH_INTERVAL = 0.0005
"""Seconds after which the worker's thread gives the GIL to a native thread that waits for it.

SQLite's module takes the GIL for each row and for each check of the time limit, for some microseconds. With Python's
own 5 ms, a page of 1,000 rows would take 5 s beside a busy worker.
"""

INTERRUPT_INTERVAL = 0.05
"""Seconds between two attempts to cancel a call whose request is gone: it may not have begun yet."""

R = TypeVar("R")


class NativeThreads:
    """A pool of native threads for one worker process, made after the fork."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPool(size)
        sys.setswitchinterval(SWITCH_INTERVAL)

    def run(self, call: Callable[[], R], cancel: Callable[[], object]) -> R:
        """Return what `call` returns, or raise what it raises.

        If the waiting request is killed, `cancel` is called until the call has ended: what the call works on belongs to
        the native thread until then.
        """
        result = self._pool.spawn(_outcome, call)
        try:
            value, error = result.get()
        except BaseException:
            while not result.ready():
                cancel()
                _wait(result)
            raise
        if error is not None:
            raise error
        returned: R = value
        return returned


def _wait(result: Any) -> None:
    try:
        result.wait(INTERRUPT_INTERVAL)
    except BaseException:  # noqa: BLE001  killed again, while the first is being raised
        return


def _outcome(call: Callable[[], R]) -> tuple[R | None, BaseException | None]:
    # gevent would print the traceback of an error that the caller handles.
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001  raised again in the greenlet that waits
        return None, error
