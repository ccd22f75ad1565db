"""Let the other requests of a worker run during a long computation.

The gunicorn worker executes all its requests in one thread. A greenlet that computes does not switch by itself, so a
loop whose length the client decides must yield. `time.sleep` is gevent's in that worker (gunicorn.conf.py); without
gevent it lets other threads run.
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
