"""How many requests a user, and an address, may make: 429 beyond, with the headers that tell when to go on.

Counted in Redis for all processes together when `REDIS_URL` is set, otherwise in each process for itself. If Redis
does not answer, requests are let through: a limit protects the service, it must not be what takes it down.
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
"""An address may make as many requests as this many users: a household, an office."""

REDIS_PAUSE = 5.0
"""Seconds for which it is not asked again after it failed, so that a dead Redis slows nobody down."""

_EXTENSION = "taskapi.guard.rate_limit"


class Limit(NamedTuple):
    """So many requests in so many seconds."""

    amount: int
    seconds: int

    @classmethod
    def of(cls, setting: str) -> Limit:
        """What `RATE_LIMIT` says, such as `600/minute`."""
        amount, _, unit = setting.partition("/")
        return cls(int(amount), {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[unit])


class Limiter:
    """Counts against one limit; `take` answers what is left."""

    def __init__(self, limit: Limit, redis_url: str | None, trusted_proxies: int) -> None:
        self.trusted_proxies = trusted_proxies
        self.policy = f'"default";q={limit.amount};w={limit.seconds}'
        self._amount = limit.amount
        self._users: Counter
        self._addresses: Counter
        of_an_address = Limit(limit.amount * ADDRESS_LIMIT_FACTOR, limit.seconds)
        if redis_url is None:
            self._users, self._addresses = InMemoryCounter(limit), InMemoryCounter(of_an_address)
        else:
            from . import redis_counter as redis  # noqa: PLC0415  not above: without Redis a server starts without it

            counter = redis.sliding_window(redis_url)
            self._users = redis.RedisCounter(counter, limit, "user")
            self._addresses = redis.RedisCounter(counter, of_an_address, "address")
        self._paused_until = 0.0

    def take(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        """Count a request: whether it is allowed, how many more are, and the seconds until there are all again."""
        if time.monotonic() < self._paused_until:
            return True, self._amount, 0
        try:
            return self._take(user_id, address)
        except ConnectionError as error:
            self._paused_until = time.monotonic() + REDIS_PAUSE
            log.warning("rate limits are off for %g s: %s", REDIS_PAUSE, error)
            return True, self._amount, 0

    def _take(self, user_id: str, address: str | None) -> tuple[bool, int, float]:
        # Looked at before the user is counted: who is refused for the neighbours' requests keeps the own allowance.
        if address is not None:
            left, reset = self._addresses.left(address)
            if not left:
                return False, 0, reset
        allowed, left, reset = self._users.take(user_id)
        if allowed and address is not None:
            allowed = self._addresses.hit(address)
        return allowed, left, reset


class Counter(Protocol):
    """Requests against one limit, by who makes them.

    Those of a window are counted; of the window before, as many as the length of one back from now still reaches.
    """

    def hit(self, who: str) -> bool:
        """Count one more, if it is allowed."""

    def left(self, who: str) -> tuple[int, float]:
        """How many more are allowed, and the seconds until there is one more than that."""

    def take(self, who: str) -> tuple[bool, int, float]:
        """`hit`, and then `left`."""


class InMemoryCounter:
    """The counts of this process, by the arithmetic of `limits`.

    Its own storage in memory starts a thread that looks through all keys, up to a hundred times a second. Here the
    counts of a window are forgotten all at once, when the one after the next begins: so much is held and no more.
    """

    def __init__(self, limit: Limit) -> None:
        self._amount, self._seconds = limit
        self._lock = threading.Lock()
        self._window = 0.0
        self._before: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def hit(self, who: str) -> bool:
        return self.take(who)[0]

    def take(self, who: str) -> tuple[bool, int, float]:
        with self._lock:
            left, reset = self._look(who)
            if not left:
                return False, left, reset
            before = self._counts.get(who, 0)
            self._counts[who] = before + 1
            return True, left - 1, reset if before else self._look(who)[1]

    def left(self, who: str) -> tuple[int, float]:
        with self._lock:
            return self._look(who)

    def _look(self, who: str) -> tuple[int, float]:
        window, elapsed = divmod(time.time(), self._seconds)
        if window != self._window:
            self._before = self._counts if window == self._window + 1 else {}
            self._counts, self._window = {}, window
        before, count, rest = self._before.get(who, 0), self._counts.get(who, 0), self._seconds - elapsed
        left = max(0, self._amount - math.floor(before * rest / self._seconds + count))
        # One of the window before falls out at a time, and those of this one begin to when the next begins.
        reset = rest % (self._seconds / before) if before else rest if count else 0.0
        return left, reset


def init_app(app: Flask, config: Config) -> None:
    """Set up the limit that the configuration asks for."""
    app.extensions[_EXTENSION] = (
        Limiter(Limit.of(config.rate_limit), config.redis_url, config.trusted_proxies) if config.rate_limit else None
    )


def enforce_rate_limit(app: Flask, asked: Request, user: User) -> None:
    """Count the user's request, or refuse it."""
    limiter: Limiter | None = app.extensions[_EXTENSION]
    if limiter is None:
        return
    allowed, remaining, reset = limiter.take(user.id, _client_address(asked.environ, limiter.trusted_proxies))
    seconds = math.ceil(reset)
    # RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), on refusals too.
    add_response_headers(
        asked, ("RateLimit-Policy", limiter.policy), ("RateLimit", f'"default";r={remaining};t={seconds}')
    )
    if not allowed:
        raise TooManyRequests(
            "You have made too many requests. Wait, then go on.", headers={"Retry-After": str(max(1, seconds))}
        )


def _client_address(environ: Mapping[str, str], trusted_proxies: int) -> str | None:
    """Where the request comes from; None for a neighbour in the own network, which is a proxy for many.

    Of X-Forwarded-For as many entries are believed, from the end, as there are proxies of ours; the rest is hearsay.
    """
    address = environ.get("REMOTE_ADDR", "")
    if trusted_proxies:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if trusted_proxies <= len(forwarded):
            address = forwarded[-trusted_proxies].strip()
    try:
        return _rate_limit_key(address)
    except ValueError:
        return None  # a Unix socket


@lru_cache(1024)
def _rate_limit_key(address: str) -> str | None:
    """As what an address counts. Raises `ValueError` for what is none, which is so not kept."""
    known = ipaddress.ip_address(address)
    # ::ffff:203.0.113.9 is an IPv4 client of a dual-stack socket or proxy (RFC 4291, section 2.5.5.2).
    known = getattr(known, "ipv4_mapped", None) or known
    if not known.is_global:
        return None
    # A customer has a whole /64 of IPv6 addresses (RFC 6177), so it counts as one.
    return str(ipaddress.ip_network(f"{known}/64", strict=False)) if known.version == 6 else str(known)
