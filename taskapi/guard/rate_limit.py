"""Rate limits per user and per client address: 429 with `Retry-After`, and `RateLimit` headers on every response.

With `REDIS_URL` all processes count together in Redis, otherwise each counts for itself. If Redis fails, requests are
allowed: an outage of the limiter must not become an outage of the service.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Mapping
from functools import lru_cache

from flask import Flask, Request, g

from ..auth.tokens import User
from ..config.settings import Config
from ..http.errors import TooManyRequests
from ..http.response import add_response_headers
from ..http.routing import current_application, current_request
from ..telemetry.limited_log import LimitedLog
from ..telemetry.metrics import REDIS_FAILURES, TOO_MANY_REQUESTS
from .windows import Counter, InMemoryCounter, Limit

log = logging.getLogger(__name__)

ADDRESS_LIMIT_FACTOR = 10
"""The limit of an address is this many times that of a user, because a household or an office shares an address."""

REDIS_PAUSE = 5.0
"""Seconds for which Redis is not called after a failure, so that requests do not wait for its timeout."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""The prefix with which a translator shows IPv4 clients to IPv6 servers (RFC 6052, section 2.1; RFC 7755)."""

_EXTENSION = "taskapi.guard.rate_limit"

_CHARGED_UNITS = "taskapi.charged_units"
"""Key of the WSGI environ for the units that `charge` has counted."""


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
        self._log = LimitedLog(log)

    def consume(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request; return (allowed, requests left, seconds until that number grows by one).

        `address` is the key of the client's address, None if it is not limited. A request beyond the user's or the
        address's limit is not counted. After a failure of Redis every request is allowed for `REDIS_PAUSE` seconds, and
        none is counted. The seconds are usually above 0 also while requests are left.
        """
        if time.monotonic() < self._paused_until:
            return True, self._amount, 0
        try:
            return self._count(user_id, address)
        except ConnectionError as error:
            self._pause(error)
            return True, self._amount, 0

    def charge(self, user_id: str, units: int) -> tuple[int, float]:
        """Count `units`, also beyond the limit; return (requests left, seconds until that number grows by one).

        After a failure of Redis nothing is counted for `REDIS_PAUSE` seconds, and the whole limit is left. Addresses
        are not charged.
        """
        if time.monotonic() >= self._paused_until:
            try:
                return self._users.charge(user_id, units)
            except ConnectionError as error:
                self._pause(error)
        return self._amount, 0

    def _pause(self, error: ConnectionError) -> None:
        """Log a failure of Redis; for the next `REDIS_PAUSE` seconds Redis is not used, and no requests are counted."""
        self._paused_until = time.monotonic() + REDIS_PAUSE
        REDIS_FAILURES.add()
        self._log.write(logging.WARNING, str(error), f"rate limits are off for {REDIS_PAUSE:g} s: {error}")

    def _count(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request unless a limit is reached; return the (allowed, requests left, seconds) of `consume`.

        Raises `ConnectionError` if Redis fails.
        """
        # Check the address before the user is counted: a request rejected for its address costs the user nothing.
        if address is not None:
            left, reset = self._addresses.left(address)
            if not left:
                return False, 0, reset
        allowed, left, reset = self._users.consume(user_id)
        if allowed and address is not None:
            allowed = self._addresses.hit(address)
        return allowed, left, reset


def init_app(app: Flask, config: Config) -> None:
    """Store the configured limiter in `app.extensions`; None with `RATE_LIMIT=off`, so that nothing is counted."""
    app.extensions[_EXTENSION] = (
        Limiter(Limit.parse(config.rate_limit), config.redis_url, config.trusted_proxies) if config.rate_limit else None
    )


def enforce_rate_limit(app: Flask, request: Request, user: User) -> None:
    """Count a request and add the `RateLimit` headers to its response.

    Raises `TooManyRequests` (429) if the user or the client's address is beyond the limit. Does nothing with
    `RATE_LIMIT=off`.
    """
    limiter: Limiter | None = app.extensions[_EXTENSION]
    if limiter is None:
        return
    allowed, remaining, reset = limiter.consume(user.id, _client_address(request.environ, limiter.trusted_proxies))
    seconds = math.ceil(reset)
    _add_headers(request, limiter, remaining, seconds)
    if not allowed:
        TOO_MANY_REQUESTS.add("rate")
        raise TooManyRequests(
            "You have made too many requests. Wait, then go on.", headers={"Retry-After": str(max(1, seconds))}
        )


def charge(units: int) -> None:
    """Count the current request as `units` more than the one counted before its view; replace its `RateLimit` headers.

    Never refuses this request; later ones are refused only while the count is at or over the limit. Another call in the
    same request counts only the units above those charged before, because the view may run in a transaction that is
    repeated. Does nothing for 0 units and with `RATE_LIMIT=off`.
    """
    limiter: Limiter | None = current_application().extensions[_EXTENSION] if units else None
    request = current_request()
    if limiter is not None and units > (charged := request.environ.get(_CHARGED_UNITS, 0)):
        request.environ[_CHARGED_UNITS] = units
        remaining, reset = limiter.charge(g.user.id, units - charged)
        _add_headers(request, limiter, remaining, math.ceil(reset))


def _add_headers(request: Request, limiter: Limiter, remaining: int, seconds: int) -> None:
    """Set RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers) of the response, whatever its status.

    `seconds` is the time until `remaining` grows by one. Headers set by an earlier call are replaced.
    """
    add_response_headers(
        request, ("RateLimit-Policy", limiter.policy), ("RateLimit", f'"default";r={remaining};t={seconds}')
    )


def _client_address(environ: Mapping[str, str], trusted_proxies: int) -> str | None:
    """Return the rate limit key of the client's address; None if it is not counted: private, or not an IP address.

    A private address may be a shared proxy. With trusted proxies, the address is the entry of X-Forwarded-For that the
    outermost of them added, counted from the end, since clients can forge those before; with fewer entries the peer's.
    """
    address = environ.get("REMOTE_ADDR", "")
    if trusted_proxies:
        header = environ.get("HTTP_X_FORWARDED_FOR", "").strip()
        forwarded = header.split(",") if header else []
        if trusted_proxies <= len(forwarded):
            address = _forwarded_address(forwarded[-trusted_proxies])
    try:
        return _rate_limit_key(address)
    except ValueError:
        return None  # the peer of a Unix socket has no IP address


def _forwarded_address(entry: str) -> str:
    """Return the address in an entry of X-Forwarded-For, without the port, brackets, quotes and zone that it may have.

    Azure's proxies write `203.0.113.9:5678` and `[2001:db8::1]:5678`.
    """
    entry = entry.strip(' \t"')
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:  # an IPv6 address has more
        entry = entry.partition(":")[0]
    return entry.partition("%")[0]


@lru_cache(1024)
def _rate_limit_key(address: str) -> str | None:
    """Return the key to count an IP address under: an IPv6 address by its /64, None for a non-global address.

    An IPv6 address that stands for an IPv4 address counts as that. Raises `ValueError`, which `lru_cache` does not
    cache, if it is not an IP address.
    """
    ip = ipaddress.ip_address(address)
    # ::ffff:203.0.113.9 is an IPv4 client of a dual-stack socket or proxy (RFC 4291, section 2.5.5.2).
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip in NAT64:
        ip = ipaddress.IPv4Address(ip.packed[-4:])  # all IPv4 clients would share the /64 of the prefix
    if not ip.is_global:
        return None
    # A customer has a whole /64 of IPv6 addresses (RFC 6177), so all of them share a key.
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if ip.version == 6 else str(ip)
