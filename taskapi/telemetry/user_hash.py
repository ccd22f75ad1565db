"""Keyed hash of user ids for the log: it tells users apart, and without the key it leads back to none."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import lru_cache
from secrets import token_hex

LENGTH = 16
"""Hexadecimal digits of a hash: two of a million users share one with a probability of 1 in 37 million."""

CACHE_SIZE = 4096


def user_hasher(key: str | None) -> Callable[[str], str]:
    """Return a function that hashes a user id with HMAC-SHA256; without a key, with a random one of this process.

    A plain hash would be reversible: whoever has a list of user ids can hash each. Hashes with a random key differ
    after a restart; the workers of a gunicorn share it, because they are forked after its choice.
    """
    secret = (key or token_hex()).encode()

    @lru_cache(CACHE_SIZE)
    def hash_user(user_id: str) -> str:
        """Return the first `LENGTH` digits of the HMAC."""
        return hmac.digest(secret, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()[:LENGTH]

    return hash_user
