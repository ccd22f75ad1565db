"""How many requests a user, and an address, may make: 429 beyond, with the headers that tell when to go on.

Counted in Redis for all processes together when `REDIS_URL` is set, otherwise in each process for itself. If Redis
does not answer, requests are let through: a limit protects the service, it must not be what takes it down.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from .config import Config
from .errors import TooManyRequests

log = logging.getLogger(__name__)

ADDRESS_FACTOR = 10
"""An address may make as many requests as this many users: a household, an office."""

REDIS_TIMEOUT = 0.1
"""Seconds that Redis may take to answer."""

REDIS_PAUSE = 5.0
"""Seconds for which it is not asked again after it failed, so that a dead Redis slows nobody down."""

_EXTENSION = "taskapi.limits"


class Limiter:
    """Counts against one limit; `take` answers what is left."""

    def __init__(self, limit: str, redis_url: str | None, trusted_proxies: int) -> None:
        self.trusted_proxies = trusted_proxies
        self.item: RateLimitItem = parse(limit)
        self.address_item: RateLimitItem = parse(
            f"{self.item.amount * ADDRESS_FACTOR} per {self.item.get_expiry()} second"
        )
        self._counter = SlidingWindowCounterRateLimiter(_storage(redis_url))
        self._paused_until = 0.0

    def take(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request: whether it is allowed, how many more are, and the seconds until there are all again."""
        if time.monotonic() < self._paused_until:
            return True, self.item.amount, 0
        try:
            return self._take(user_id, address)
        except (StorageError, OSError) as error:
            self._paused_until = time.monotonic() + REDIS_PAUSE
            log.warning("rate limits are off for %g s: %s", REDIS_PAUSE, type(error).__name__)
            return True, self.item.amount, 0

    def _take(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        # Looked at before the user is counted: who is refused for the neighbours' requests keeps the own allowance.
        if address is not None and not self._counter.test(self.address_item, "address", address):
            return False, 0, self._left(self.address_item, "address", address)[1]
        allowed = self._counter.hit(self.item, "user", user_id)
        if allowed and address is not None:
            allowed = self._counter.hit(self.address_item, "address", address)
        return allowed, *self._left(self.item, "user", user_id)

    def _left(self, item: RateLimitItem, *who: str) -> tuple[int, float]:
        window = self._counter.get_window_stats(item, *who)
        return window.remaining, max(0.0, window.reset_time - time.time())


def _storage(redis_url: str | None) -> Storage:
    if redis_url is None:
        return MemoryStorage()
    return RedisStorage(
        redis_url,
        wrap_exceptions=True,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
    )


def init_app(app: Flask, config: Config) -> None:
    """Set up the limit that the configuration asks for."""
    app.extensions[_EXTENSION] = (
        Limiter(config.rate_limit, config.redis_url, config.trusted_proxies) if config.rate_limit else None
    )
    app.after_request(_announce)


def require_allowance() -> None:
    """Count the request of `g.user`, or refuse it."""
    limiter: Limiter | None = current_app.extensions[_EXTENSION]
    if limiter is None or request.method == "OPTIONS":
        return
    allowed, remaining, reset = limiter.take(g.user.id, _address(limiter.trusted_proxies))
    seconds = math.ceil(reset)
    request.environ[_EXTENSION] = {
        "RateLimit-Policy": f'"default";q={limiter.item.amount};w={limiter.item.get_expiry()}',
        "RateLimit": f'"default";r={remaining};t={seconds}',
    }
    if not allowed:
        raise TooManyRequests(
            "You have made too many requests. Wait, then go on.", headers={"Retry-After": str(max(1, seconds))}
        )


def _address(trusted_proxies: int) -> str | None:
    """Where the request comes from; None for a neighbour in the own network, which is a proxy for many.

    Of X-Forwarded-For as many entries are believed, from the end, as there are proxies of ours; the rest is hearsay.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    address = request.remote_addr or ""
    if 0 < trusted_proxies <= len(forwarded):
        address = forwarded[-trusted_proxies].strip()
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return None  # a Unix socket
    if not known.is_global:
        return None
    # A customer has a whole /64 of IPv6 addresses (RFC 6177), so it counts as one.
    return str(ipaddress.ip_network(f"{known}/64", strict=False)) if known.version == 6 else address


def _announce(response: Response) -> Response:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), on refusals too."""
    response.headers.update(request.environ.get(_EXTENSION, {}))
    return response
