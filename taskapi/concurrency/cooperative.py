"""Yield to the other requests of a worker during a long computation.

The gunicorn worker executes all its requests in one thread. A greenlet that computes does not switch by itself, so a
loop whose length depends on the request must yield. gunicorn.conf.py replaces `time.sleep` and `threading.Lock` by
gevent's; without gevent other threads run meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LET_OTHERS_RUN = 1e-9
"""Seconds to sleep in order to let other greenlets run: practically none, but gevent's event loop polls all sockets
first. `sleep(0)` only switches to greenlets that are ready; the loop polls the sockets after 50 of those."""

_next_slice = threading.Lock()


def wait_for_turn() -> None:
    """Let other requests run; return when this long computation may go on.

    That is after one slice of each other waiting computation. The event loop polls its sockets once for each, so a
    small request waits for at most one slice whenever it is ready, however many computations are in progress. Nothing
    is held afterwards: a computation may wait for the database or for its client.
    """
    with _next_slice:
        time.sleep(LET_OTHERS_RUN)


def yielding(items: Iterable[T], *, every: int) -> Iterator[T]:
    """Yield the items one by one, and let other requests run (`wait_for_turn`) after each `every` of them.

    Choose `every` so that the work on that many items, a slice, takes at most 2 to 3 ms.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            wait_for_turn()


def yielding_by_size(items: Iterable[T], *, every: int, size: Callable[[T], int]) -> Iterator[T]:
    """Yield the items one by one; let other requests run (`wait_for_turn`) when their sizes sum up to `every` again.

    `size` returns the work of an item, in the unit of `every`.
    """
    total = 0
    for item in items:
        yield item
        total += size(item)
        if total >= every:
            total = 0
            wait_for_turn()
