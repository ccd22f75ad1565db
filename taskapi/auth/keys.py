"""Key sources of tokens: the shared secrets here, the issuer's published keys in `jwks_cache`.

Each source has algorithms of its own: no public key can be used as an HMAC secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .jwk_parser import Key

HMAC_ALGORITHMS = frozenset({"HS256"})

KEY_PAIR_ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "RS256", "PS256"})


class KeysUnavailable(Exception):
    """A token can be neither accepted nor rejected: no key set was fetched yet, or too many requests wait for one."""


class KeySource(Protocol):
    """Finds the keys for a token, by the `alg` and `kid` of its header."""

    algorithms: frozenset[str]

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Return the keys to try, possibly none; raise `KeysUnavailable` if the keys cannot be fetched now."""
        ...


class SharedSecrets:
    """The shared secrets, `BETTER_AUTH_SECRET` and, during a rotation, `BETTER_AUTH_SECRET_PREVIOUS`. HS256 only."""

    algorithms = HMAC_ALGORITHMS

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [Key("HS256", secret.encode()) for secret in secrets]

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:  # noqa: ARG002  Better Auth sends no kid here
        """Return all configured secrets, the current one first, whatever the algorithm and the `kid`."""
        return self._keys
