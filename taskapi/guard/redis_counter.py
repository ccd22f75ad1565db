"""Rate limit counters in Redis, shared by all processes; each call is a round trip."""

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
from .windows import Limit, seconds_to_pay

TIMEOUT = 0.1
"""Seconds to wait for a connection to Redis or a response."""

MAX_COUNT = 2**53
"""A limit that no count reaches: the largest integer that Redis's Lua scripts represent exactly."""

LOOKUP_TIMEOUT = 1.0
"""Seconds to wait for the DNS lookup of the host; only a request that needs a new connection makes one."""


class RedisCounter:
    """Sliding-window counter of `limits` in Redis; `kind` is a prefix of the keys.

    Its methods raise `ConnectionError` if Redis fails.
    """

    def __init__(self, sliding_window: SlidingWindowCounterRateLimiter, limit: Limit, kind: str) -> None:
        self._counter, self._item, self._kind = sliding_window, RateLimitItemPerSecond(*limit), kind
        self._limit = limit
        self._storage: Any = sliding_window.storage

    def hit(self, key: str) -> bool:
        """Count a request unless the limit is reached; True if it is allowed. `ConnectionError` if Redis fails."""
        with _redis_errors_as_connection_error():
            return self._counter.hit(self._item, self._kind, key)

    def left(self, key: str) -> tuple[int, float]:
        """Return (requests left, seconds until that number grows by one). Raises `ConnectionError`."""
        with _redis_errors_as_connection_error():
            window = self._counter.get_window_stats(self._item, self._kind, key)
            if not window.remaining:
                return 0, self._seconds_until_allowed(key)
        return window.remaining, max(0.0, window.reset_time - time.time())

    def charge(self, key: str, units: int) -> tuple[int, float]:
        """Count `units`, also beyond the limit; return the result of `left`. Raises `ConnectionError`."""
        item = self._item
        with _redis_errors_as_connection_error():
            self._storage.acquire_sliding_window_entry(
                item.key_for(self._kind, key), MAX_COUNT, item.get_expiry(), units
            )
        return self.left(key)

    def _seconds_until_allowed(self, key: str) -> float:
        """Return the seconds until a request is allowed after the limit was reached or exceeded; reads the counts."""
        expiry = self._item.get_expiry()
        windows = self._storage.get_sliding_window(self._item.key_for(self._kind, key), expiry)
        previous, previous_expires_in, count, current_expires_in = windows
        remaining = previous_expires_in if previous else current_expires_in % expiry
        return seconds_to_pay(self._limit, previous, count, remaining)

    def consume(self, key: str) -> tuple[bool, int, float]:
        """Count a request unless the limit is reached; return (allowed, requests left, seconds as in `left`).

        Two or three round trips (`hit`, `left`). Raises `ConnectionError`.
        """
        return self.hit(key), *self.left(key)


def sliding_window(url: str) -> SlidingWindowCounterRateLimiter:
    """Return the sliding-window rate limiter on the Redis at `url`; it connects on first use, with timeouts."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "connection_class": _TLSConnection if url.startswith("rediss:") else _Connection,
    }
    return SlidingWindowCounterRateLimiter(RedisStorage(url, wrap_exceptions=True, **options))


def _check_dns(connection: Connection) -> None:
    """Look up the host, without the slot; raise `OSError` if that fails or takes longer than `LOOKUP_TIMEOUT`.

    redis-py itself calls getaddrinfo, which has no timeout. It does so only after this lookup has succeeded, and should
    take as long.
    """
    with slots.released():
        resolve(connection.host, connection.port, LOOKUP_TIMEOUT)


class _Connection(Connection):
    """TCP connection whose DNS lookup has a timeout."""

    def _connect(self) -> Any:
        """Return a connected socket as redis-py does, after `_check_dns`."""
        _check_dns(self)
        return super()._connect()


class _TLSConnection(SSLConnection):
    """TLS connection whose DNS lookup has a timeout."""

    def _connect(self) -> Any:
        """Return a connected socket as redis-py does, after `_check_dns`."""
        _check_dns(self)
        return super()._connect()


@contextmanager
def _redis_errors_as_connection_error() -> Iterator[None]:
    """Translate storage errors of `limits` and `OSError` to `ConnectionError`, which the limiter handles."""
    try:
        yield
    except (StorageError, OSError) as error:
        raise ConnectionError(type(error).__name__) from error
