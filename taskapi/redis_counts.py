"""Requests counted in Redis, for all processes together; each look at the counts is a round trip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

TIMEOUT = 0.1
"""Seconds that Redis may take to answer."""


class Counts:
    """Requests against a limit, `amount` and seconds, by who makes them. Raises `ConnectionError` without Redis."""

    def __init__(self, counter: SlidingWindowCounterRateLimiter, limit: tuple[int, int], kind: str) -> None:
        self._counter, self._item, self._kind = counter, RateLimitItemPerSecond(*limit), kind

    def hit(self, who: str) -> bool:
        """Count one more, if it is allowed."""
        with _away():
            return self._counter.hit(self._item, self._kind, who)

    def left(self, who: str) -> tuple[int, float]:
        """How many more are allowed, and the seconds until there is one more than that."""
        with _away():
            window = self._counter.get_window_stats(self._item, self._kind, who)
        return window.remaining, max(0.0, window.reset_time - time.time())

    def take(self, who: str) -> tuple[bool, int, float]:
        """Both."""
        return self.hit(who), *self.left(who)


def counter(url: str) -> SlidingWindowCounterRateLimiter:
    """What counts there; nothing connects before the first request."""
    storage = RedisStorage(url, wrap_exceptions=True, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
    return SlidingWindowCounterRateLimiter(storage)


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (StorageError, OSError) as error:
        raise ConnectionError(type(error).__name__) from error
