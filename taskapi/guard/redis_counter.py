"""Requests counted in Redis, for all processes together; each look at the counts is a round trip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from limits import RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Connection, SSLConnection

from ..concurrency import slots
from ..concurrency.resolver import resolve

TIMEOUT = 0.1
"""Seconds that Redis may take to answer."""

LOOKUP_TIMEOUT = 1.0
"""Seconds that the DNS lookup of its host may take; only a request that needs a new connection makes one."""


class RedisCounter:
    """Requests against a limit, `amount` and seconds, by who makes them. Raises `ConnectionError` without Redis."""

    def __init__(self, sliding_window: SlidingWindowCounterRateLimiter, limit: tuple[int, int], kind: str) -> None:
        self._counter, self._item, self._kind = sliding_window, RateLimitItemPerSecond(*limit), kind

    def hit(self, who: str) -> bool:
        """Count one more, if it is allowed."""
        with _redis_errors_as_connection_error():
            return self._counter.hit(self._item, self._kind, who)

    def left(self, who: str) -> tuple[int, float]:
        """How many more are allowed, and the seconds until there is one more than that."""
        with _redis_errors_as_connection_error():
            window = self._counter.get_window_stats(self._item, self._kind, who)
        return window.remaining, max(0.0, window.reset_time - time.time())

    def take(self, who: str) -> tuple[bool, int, float]:
        """Both."""
        return self.hit(who), *self.left(who)


def sliding_window(url: str) -> SlidingWindowCounterRateLimiter:
    """What counts there; nothing connects before the first request."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "connection_class": _TLSConnection if url.startswith("rediss:") else _Connection,
    }
    return SlidingWindowCounterRateLimiter(RedisStorage(url, wrap_exceptions=True, **options))


def _check_dns(connection: Connection) -> None:
    """Raise `OSError` if the DNS lookup of the host fails or hangs.

    redis-py itself calls getaddrinfo, which has no timeout. This lookup goes first; that one follows only if it
    succeeds, and should take as long.
    """
    with slots.released():
        resolve(connection.host, connection.port, LOOKUP_TIMEOUT)


class _Connection(Connection):
    def _connect(self) -> Any:
        _check_dns(self)
        return super()._connect()


class _TLSConnection(SSLConnection):
    def _connect(self) -> Any:
        _check_dns(self)
        return super()._connect()


@contextmanager
def _redis_errors_as_connection_error() -> Iterator[None]:
    try:
        yield
    except (StorageError, OSError) as error:
        raise ConnectionError(type(error).__name__) from error
