"""Parse a JWK Set, and reject weak or unusable keys."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson

log = logging.getLogger(__name__)

MAX_KEYS = 100

MIN_RSA_BITS = 2048
"""Minimum modulus length (RFC 7518, sections 3.3 and 3.5)."""

MAX_RSA_BITS = 8192
"""Maximum modulus length. The CPU time of a verification grows with its square: 0.09 ms at 2,048 bits, 0.24 ms at
8,192, 1 ms at 16,384."""

MIN_RSA_EXPONENT, MAX_RSA_EXPONENT = 2**16 + 1, 2**256
"""Bounds of the public exponent (FIPS 186-5, appendix A.1.1). It is usually 65,537; a long one makes each verification
up to 18 times slower."""

_KEY_TYPES = {
    "EdDSA": ("OKP", "Ed25519"),
    "ES256": ("EC", "P-256"),
    "ES512": ("EC", "P-521"),
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
}
"""The `kty` and `crv` of a JWK by the algorithm that it is for."""


@dataclass(frozen=True, eq=False)
class Key:
    """A verification key and the only algorithm it may be used with; compared by identity, which is fast."""

    algorithm: str
    material: Any = field(repr=False)


def parse_jwks(body: bytes, warn: Callable[[str], object] = log.warning) -> dict[str, Key]:
    """Return the usable keys of a JWK Set by `kid`; skip the others, also those without a `kid` (RFC 7517, section 5).

    Different keys with the same `kid` are ambiguous: none of them is used, and `warn` is called, as for a weak key; the
    same key twice is one key. Raises ValueError for a body that is not a JWK Set, has more than `MAX_KEYS` entries or
    no usable key.
    """
    document = orjson.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError("not a JWK Set")
    keys: dict[str, Key] = {}
    ambiguous: set[str] = set()
    for entry in entries:
        if isinstance(entry, dict) and isinstance(kid := entry.get("kid"), str):
            key = _parse_key(entry, kid, warn)
            if key is not None and not _is_same_key(keys.setdefault(kid, key), key):
                ambiguous.add(kid)
    for kid in ambiguous:
        warn(f"the key set has different keys with the kid {_quoted(kid)}: none of them is used")
        del keys[kid]
    if not keys:
        raise ValueError("no usable key")
    return keys


def _is_same_key(one: Key, other: Key) -> bool:
    """Return True if two keys have the same algorithm and key material."""
    return one.algorithm == other.algorithm and bool(one.material == other.material)


def _parse_key(entry: dict[str, Any], kid: str, warn: Callable[[str], object]) -> Key | None:
    """Return the key of a JWK; None if it is not for verifying, private, unsupported, malformed or weak.

    Its only algorithm is `alg`, or without one the first in `_KEY_TYPES` for its type. `warn` is called for a weak key,
    with its `kid`.
    """
    key_type = (entry.get("kty"), entry.get("crv"))
    # A key without `alg` is for the first algorithm of its type. A key for two algorithms would allow confusion.
    algorithm = entry.get("alg") or next((name for name, type_ in _KEY_TYPES.items() if type_ == key_type), None)
    if not isinstance(algorithm, str) or _KEY_TYPES.get(algorithm) != key_type:
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    try:
        material = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    weakness = _WEAKNESS[key_type[0]](material) if key_type[0] in _WEAKNESS else ""
    if weakness:
        warn(f"the key with the kid {_quoted(kid)} is not used: {weakness}")
        return None
    return Key(algorithm, material)


def _quoted(kid: str) -> str:
    """Return a `kid` for the log: quoted, and cut off."""
    return f"{kid!r:.80}"


_FIELD_PRIME = 2**255 - 19
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})
"""The y coordinates of the Ed25519 points of order 1, 2, 4 and 8."""


def _ed25519_weakness(key: Any) -> str:
    """Return why an Ed25519 key must not be used: a small order, or a y that is not canonical; "" for a good key."""
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)  # the highest bit is the sign of x
    # OpenSSL accepts both kinds (RFC 8032, section 5.1.3 rejects the second); signatures for them can be forged.
    return "its point has a small order" if y in _SMALL_ORDER or y >= _FIELD_PRIME else ""


def _rsa_weakness(key: Any) -> str:
    """Return why an RSA key must not be used: its size, its exponent, or ROCA; "" for a good key."""
    numbers = key.public_numbers()
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return f"it does not have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
    if not MIN_RSA_EXPONENT <= numbers.e < MAX_RSA_EXPONENT:
        return "its public exponent is too small or too large"
    if has_roca_fingerprint(numbers.n):
        return "it was made by a library with the ROCA weakness (CVE-2017-15361), so its private key can be computed"
    return ""


_WEAKNESS = {"RSA": _rsa_weakness, "OKP": _ed25519_weakness}
"""By key type, the check that returns why a key is weak, or an empty string. (cryptography rejects bad EC points.)"""

_ROCA_PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109),
    *(113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


def _powers(base: int, modulus: int) -> frozenset[int]:
    """Return the powers of `base` modulo a prime: the subgroup that it generates."""
    powers, power = set(), 1
    while power not in powers:
        powers.add(power)
        power = power * base % modulus
    return frozenset(powers)


_ROCA_RESIDUES = {prime: _powers(65537, prime) for prime in _ROCA_PRIMES}


def has_roca_fingerprint(modulus: int) -> bool:
    """Return True if an RSA modulus has the form of Infineon's RSALib, so that it is factorable (ROCA, CVE-2017-15361).

    Its primes are k * M + (65537^a mod M), where M is the product of the first primes. So the modulus is a power of
    65537 modulo each of those, as a random one is with a probability of 2^-27.8. Nemec et al., "The Return of
    Coppersmith's Attack", CCS 2017, section 2.3; the primes are those of their test, github.com/crocs-muni/roca.
    """
    return all(modulus % prime in residues for prime, residues in _ROCA_RESIDUES.items())
