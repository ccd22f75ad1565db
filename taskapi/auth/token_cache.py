"""What is known of a token is kept under its digest: whoever reads this memory finds no credential."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import Generic, TypeVar

MAX_ENTRIES = 10_000
"""Tokens a worker remembers, about 5 MB. With more than that the one remembered longest ago is forgotten."""

T = TypeVar("T")


class TokenCache(Generic[T]):
    """One worker's, for all its threads."""

    def __init__(self) -> None:
        self._known: dict[bytes, T] = {}
        self._lock = threading.Lock()

    def get(self, token: str) -> T | None:
        """What is known of exactly this token."""
        return self._known.get(_digest(token))  # one step, which needs no lock

    def keep(self, token: str, known: T) -> None:
        """Remember this of the token from now on, and forget another if there are too many."""
        digest = _digest(token)
        with self._lock:  # nobody may change the dictionary while its oldest is looked for
            self._known.pop(digest, None)  # what is kept anew is not old
            if len(self._known) >= MAX_ENTRIES:
                del self._known[next(iter(self._known))]
            self._known[digest] = known

    def forget(self, token: str) -> None:
        """Remember nothing of the token, if anything was."""
        with self._lock:
            self._known.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    # A header can hold any character, and no two texts may become the same bytes.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
