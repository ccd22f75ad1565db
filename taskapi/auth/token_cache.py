"""Cache of verified tokens, keyed by the SHA-256 of the token, so that it holds no credentials."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import Generic, TypeVar

MAX_ENTRIES = 10_000
"""Maximum tokens in a worker's cache, about 5 MB; beyond it the oldest entry is evicted."""

T = TypeVar("T")


class TokenCache(Generic[T]):
    """Thread-safe cache of one value per token, with first-in first-out eviction at `MAX_ENTRIES`."""

    def __init__(self) -> None:
        self._values: dict[bytes, T] = {}
        self._lock = threading.Lock()

    def get(self, token: str) -> T | None:
        """Return the value stored for a token, or None."""
        return self._values.get(_digest(token))  # a single dict operation needs no lock

    def put(self, token: str, value: T) -> None:
        """Store the value of a token as the newest entry; evict the oldest if the cache is full."""
        digest = _digest(token)
        with self._lock:  # another thread must not change the dictionary during next(iter(…))
            self._values.pop(digest, None)  # a stored token moves to the end
            if len(self._values) >= MAX_ENTRIES:
                del self._values[next(iter(self._values))]
            self._values[digest] = value

    def remove(self, token: str) -> None:
        """Remove a token and its value, if it is stored."""
        with self._lock:
            self._values.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    """Return the SHA-256 of a token."""
    # A header can contain any character, and different tokens must not have the same bytes.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
