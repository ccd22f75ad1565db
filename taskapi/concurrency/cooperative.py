"""Yield to the other requests of a worker during a long computation.

The gunicorn worker executes all its requests in one thread. A greenlet that computes does not switch by itself, so a
loop whose length depends on the request must yield. gunicorn.conf.py replaces `time.sleep` by gevent's; without gevent
it lets other threads run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def yielding(items: Iterable[T], *, every: int) -> Iterator[T]:
    """Iterate over the items, and yield to the event loop after each `every` of them.

    Choose `every` so that the work on that many items takes less than about 10 ms.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            time.sleep(0)
