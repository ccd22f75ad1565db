"""Sliding-window counters of the rate limit, in memory; redis_counter.py has those in Redis."""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple, Protocol


class Limit(NamedTuple):
    """A rate limit: `amount` requests in `seconds`."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, setting: str) -> Limit:
        """Parse a setting such as `600/minute`, which `config` has validated."""
        amount, _, unit = setting.partition("/")
        return cls(int(amount), {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[unit])


class Counter(Protocol):
    """Sliding-window counter: the requests of the current window, plus those of the previous one, weighted.

    The weight is the part of the previous window that is less than one window ago. `key` identifies a user or an
    address. The seconds that methods return are usually above 0 also while requests are left.
    """

    def hit(self, key: str) -> bool:
        """Count a request unless the limit is reached; return True if it is allowed."""

    def left(self, key: str) -> tuple[int, float]:
        """Return (requests left, seconds until that number grows by one)."""

    def consume(self, key: str) -> tuple[bool, int, float]:
        """Count a request unless the limit is reached; return (allowed, requests left, seconds as in `left`)."""

    def charge(self, key: str, units: int) -> tuple[int, float]:
        """Count `units`, also beyond the limit; return the result of `left`."""


def seconds_to_pay(limit: Limit, previous: int, count: int, remaining: float) -> float:
    """Return the seconds until a request is allowed after the counts have reached or exceeded the limit.

    `previous` and `count` are those of the previous and the current window, which ends in `remaining` seconds.
    """
    amount, seconds = limit
    if count < amount:  # the weight of the previous window drops far enough within this one
        return max(0.0, remaining - (amount - count) * seconds / previous) if previous else 0.0
    return remaining + seconds * (1 - amount / count)


class InMemoryCounter:
    """Sliding-window counter in this process's memory, with the arithmetic of the `limits` library.

    The in-memory storage of `limits` starts a thread that scans all keys, up to a hundred times a second. This class
    keeps two dictionaries, of the current and the previous window, and drops the older one at the end of a window.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._amount, self._seconds = limit
        self._lock = threading.Lock()
        self._window = 0.0
        self._previous: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def hit(self, key: str) -> bool:
        """Count a request unless the limit is reached; return True if it is allowed."""
        return self.consume(key)[0]

    def consume(self, key: str) -> tuple[bool, int, float]:
        """Count a request unless the limit is reached; return (allowed, requests left, seconds as in `left`)."""
        with self._lock:
            left, reset = self._left(key)
            if not left:
                return False, left, reset
            count = self._counts.get(key, 0)
            self._counts[key] = count + 1
            return True, left - 1, reset if count else self._left(key)[1]

    def charge(self, key: str, units: int) -> tuple[int, float]:
        """Count `units`, also beyond the limit; return the result of `left`."""
        with self._lock:
            self._left(key)
            self._counts[key] = self._counts.get(key, 0) + units
            return self._left(key)

    def left(self, key: str) -> tuple[int, float]:
        """Return (requests left, seconds until that number grows by one)."""
        with self._lock:
            return self._left(key)

    def _left(self, key: str) -> tuple[int, float]:
        """Return (requests left, seconds until that number grows by one); call it with the lock held.

        Starts a new window first if the current one is over.
        """
        window, elapsed = divmod(time.time(), self._seconds)
        if window != self._window:
            self._previous = self._counts if window == self._window + 1 else {}
            self._counts, self._window = {}, window
        previous, count, remaining = self._previous.get(key, 0), self._counts.get(key, 0), self._seconds - elapsed
        left = self._amount - math.floor(previous * remaining / self._seconds + count)
        if left <= 0:
            return 0, seconds_to_pay(self._limit, previous, count, remaining)
        # The weighted count of the previous window drops by one every seconds / previous; if that window was empty, the
        # count of the current one begins to drop when the next window starts.
        reset = remaining % (self._seconds / previous) if previous else remaining if count else 0.0
        return left, reset
