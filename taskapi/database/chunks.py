"""Delete many rows of a user in transactions of bounded size, between which other requests get the locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

O = TypeVar("O")  # noqa: E741  O as in Owner

CHUNK, MIN_PAUSE = 1_000, 0.02
"""Maximum rows that one transaction of the purge changes, about 30 ms on SQLite, and the minimum of seconds between two
of them."""


def in_chunks(purge_chunk: Callable[[O], int], owner: O) -> int:
    """Call `purge_chunk`, which commits and returns a number of rows, until that is below `CHUNK`; return the total.

    Sleeps after each chunk that purged any, as long as it took and at least `MIN_PAUSE`: waiting writers of SQLite get
    the lock, and PostgreSQL is busy with the purge for half of the time at most.
    """
    total = 0
    while True:
        started = time.monotonic()
        count = purge_chunk(owner)
        total += count
        if count:
            time.sleep(max(MIN_PAUSE, time.monotonic() - started))
        if count < CHUNK:
            return total
