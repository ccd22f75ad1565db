"""Run calls that block inside C in native threads, so that a gevent worker serves its other requests meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

SWITCH_INTERVAL = 0.0005
"""Seconds after which the worker's thread gives the GIL to a native thread that waits for it.

sqlite3 takes the GIL for some microseconds for each row and for each check of the time limit. With Python's default of
5 ms, a page of 1,000 rows takes 5 s while the worker's thread is busy.
"""

INTERRUPT_INTERVAL = 0.05
"""Seconds between two attempts to cancel a call whose request was killed: the first may come before the call begins."""

R = TypeVar("R")


class NativeThreads:
    """A pool of native threads of one worker process; create it after the fork. Sets Python's switch interval."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPool(size)
        sys.setswitchinterval(SWITCH_INTERVAL)

    def run(self, call: Callable[[], R], cancel: Callable[[], object]) -> R:
        """Execute `call` in a native thread; return its result or raise its exception. Other greenlets run meanwhile.

        If the waiting greenlet is killed, `cancel` is called every `INTERRUPT_INTERVAL` until the call has ended, and
        only then is the kill raised: until then the native thread uses the connection that the call works on.
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
    """Wait up to `INTERRUPT_INTERVAL` for a result of the pool; a further kill ends the wait and is not raised."""
    try:
        result.wait(INTERRUPT_INTERVAL)
    except BaseException:  # noqa: BLE001  the first kill is raised by `run`
        return


def _outcome(call: Callable[[], R]) -> tuple[R | None, BaseException | None]:
    """Call a function; return (result, None), or (None, exception) if it raised: gevent would print its traceback."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001  `run` raises it in the waiting greenlet
        return None, error
