"""Rate limits per user and per client address: 429 with `Retry-After`, and `RateLimit` headers on every response.

With `REDIS_URL` all processes count together in Redis, otherwise each counts for itself. If Redis fails, requests are
allowed: an outage of the limiter must not become an outage of the service.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol

from flask import Flask, Request

from ..auth.tokens import User
from ..config import Config
from ..http.errors import TooManyRequests
from ..http.response import add_response_headers

log = logging.getLogger(__name__)

ADDRESS_LIMIT_FACTOR = 10
"""The limit of an address is this many times that of a user, because a household or an office shares an address."""

REDIS_PAUSE = 5.0
"""Seconds for which Redis is not called after a failure, so that requests do not wait for its timeout."""

_EXTENSION = "taskapi.guard.rate_limit"


class Limit(NamedTuple):
    """A rate limit: `amount` requests in `seconds`."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, setting: str) -> Limit:
        """Parse a setting such as `600/minute`."""
        amount, _, unit = setting.partition("/")
        return cls(int(amount), {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[unit])


class Limiter:
    """Counts requests of users and addresses against a limit, in memory or in Redis.

    `trusted_proxies` is the number of reverse proxies whose `X-Forwarded-For` entries are trusted.
    """

    def __init__(self, limit: Limit, redis_url: str | None, trusted_proxies: int) -> None:
        self.trusted_proxies = trusted_proxies
        self.policy = f'"default";q={limit.amount};w={limit.seconds}'
        self._amount = limit.amount
        self._users: Counter
        self._addresses: Counter
        address_limit = Limit(limit.amount * ADDRESS_LIMIT_FACTOR, limit.seconds)
        if redis_url is None:
            self._users, self._addresses = InMemoryCounter(limit), InMemoryCounter(address_limit)
        else:
            from . import redis_counter as redis  # noqa: PLC0415  without REDIS_URL the Redis client is not loaded

            counter = redis.sliding_window(redis_url)
            self._users = redis.RedisCounter(counter, limit, "user")
            self._addresses = redis.RedisCounter(counter, address_limit, "address")
        self._paused_until = 0.0

    def consume(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request; return (allowed, requests left, seconds until one more is allowed).

        `address` is the key of the client's address, None if addresses are not limited. While Redis fails, every
        request is allowed.
        """
        if time.monotonic() < self._paused_until:
            return True, self._amount, 0
        try:
            return self._count(user_id, address)
        except ConnectionError as error:
            self._paused_until = time.monotonic() + REDIS_PAUSE
            log.warning("rate limits are off for %g s: %s", REDIS_PAUSE, error)
            return True, self._amount, 0

    def _count(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request against the address and the user; raise `ConnectionError` if Redis fails."""
        # Check the address before the user is counted: a request rejected for its address costs the user nothing.
        if address is not None:
            left, reset = self._addresses.left(address)
            if not left:
                return False, 0, reset
        allowed, left, reset = self._users.consume(user_id)
        if allowed and address is not None:
            allowed = self._addresses.hit(address)
        return allowed, left, reset


class Counter(Protocol):
    """Sliding-window counter: the requests of the current window, plus those of the previous one, weighted.

    The weight is the part of the previous window that is less than one window ago. `key` identifies a user or an
    address.
    """

    def hit(self, key: str) -> bool:
        """Count a request unless the limit is reached; return True if it is allowed."""

    def left(self, key: str) -> tuple[int, float]:
        """Return how many more requests are allowed, and the seconds until one more than that is."""

    def consume(self, key: str) -> tuple[bool, int, float]:
        """Count a request as `hit` does; return (allowed, requests left, seconds until one more is allowed)."""


class InMemoryCounter:
    """Sliding-window counter in this process's memory, with the arithmetic of the `limits` library.

    The in-memory storage of `limits` starts a thread that scans all keys, up to a hundred times a second. This class
    keeps two dictionaries, of the current and the previous window, and drops the older one at the end of a window.
    """

    def __init__(self, limit: Limit) -> None:
        self._amount, self._seconds = limit
        self._lock = threading.Lock()
        self._window = 0.0
        self._previous: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def hit(self, key: str) -> bool:
        """Count a request unless the limit is reached; return True if it is allowed."""
        return self.consume(key)[0]

    def consume(self, key: str) -> tuple[bool, int, float]:
        """Count a request as `hit` does; return (allowed, requests left, seconds until one more is allowed)."""
        with self._lock:
            left, reset = self._left(key)
            if not left:
                return False, left, reset
            count = self._counts.get(key, 0)
            self._counts[key] = count + 1
            return True, left - 1, reset if count else self._left(key)[1]

    def left(self, key: str) -> tuple[int, float]:
        """Return how many more requests are allowed, and the seconds until one more than that is."""
        with self._lock:
            return self._left(key)

    def _left(self, key: str) -> tuple[int, float]:
        """Compute `left`, after starting a new window if the current one is over; call it with the lock held."""
        window, elapsed = divmod(time.time(), self._seconds)
        if window != self._window:
            self._previous = self._counts if window == self._window + 1 else {}
            self._counts, self._window = {}, window
        previous, count, remaining = self._previous.get(key, 0), self._counts.get(key, 0), self._seconds - elapsed
        left = max(0, self._amount - math.floor(previous * remaining / self._seconds + count))
        # The weighted count of the previous window drops by one every seconds / previous; if that window was empty, the
        # count of the current one begins to drop when the next window starts.
        reset = remaining % (self._seconds / previous) if previous else remaining if count else 0.0
        return left, reset


def init_app(app: Flask, config: Config) -> None:
    """Create the limiter from the configuration; None for `RATE_LIMIT=off`."""
    app.extensions[_EXTENSION] = (
        Limiter(Limit.parse(config.rate_limit), config.redis_url, config.trusted_proxies) if config.rate_limit else None
    )


def enforce_rate_limit(app: Flask, request: Request, user: User) -> None:
    """Count a request and add the `RateLimit` headers to its response; raise `TooManyRequests` beyond the limit."""
    limiter: Limiter | None = app.extensions[_EXTENSION]
    if limiter is None:
        return
    allowed, remaining, reset = limiter.consume(user.id, _client_address(request.environ, limiter.trusted_proxies))
    seconds = math.ceil(reset)
    # RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), on 429 too.
    add_response_headers(
        request, ("RateLimit-Policy", limiter.policy), ("RateLimit", f'"default";r={remaining};t={seconds}')
    )
    if not allowed:
        raise TooManyRequests(
            "You have made too many requests. Wait, then go on.", headers={"Retry-After": str(max(1, seconds))}
        )


def _client_address(environ: Mapping[str, str], trusted_proxies: int) -> str | None:
    """Return the rate limit key of the client's address; None for a private address, which may be a shared proxy.

    With trusted proxies, it is the entry of X-Forwarded-For that the outermost of them added: the one at that position
    from the end. The client can forge the entries before it.
    """
    address = environ.get("REMOTE_ADDR", "")
    if trusted_proxies:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if trusted_proxies <= len(forwarded):
            address = forwarded[-trusted_proxies].strip()
    try:
        return _rate_limit_key(address)
    except ValueError:
        return None  # the peer of a Unix socket has no IP address


@lru_cache(1024)
def _rate_limit_key(address: str) -> str | None:
    """Return the key to count an IP address under: an IPv6 address by its /64, None for a non-global address.

    Raises `ValueError`, which `lru_cache` does not cache, if it is not an IP address.
    """
    ip = ipaddress.ip_address(address)
    # ::ffff:203.0.113.9 is an IPv4 client of a dual-stack socket or proxy (RFC 4291, section 2.5.5.2).
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not ip.is_global:
        return None
    # A customer has a whole /64 of IPv6 addresses (RFC 6177), so all of them share a key.
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if ip.version == 6 else str(ip)
