"""A token becomes a `User`, or a named refusal. Nothing in here knows of HTTP.

PyJWT verifies signature, issuer and audience. What it lets through, and a verifier of bearer tokens should not,
is refused before it is asked (RFC 8725, and RFC 7515 for the form).
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import unicodedata
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from ..http import strict_json
from .key_set import Key
from .keys import KeySource
from .token_cache import TokenCache

MAX_TOKEN_BYTES = 8192
"""Better Auth's largest, with the whole user row in it, is about 1 KB."""

SKEW = 30
"""Seconds that `iat` and `nbf` may lie ahead of our clock. `exp` gets none: tolerance never lengthens a life."""

MAX_IDENTIFIER_LENGTH = 255
"""Characters of a user's, a session's or a notice's id."""

FAR_FUTURE = 253_402_300_799
"""The last second of the year 9999; no calendar goes further, so no `exp` needs to."""

TYPES = frozenset({None, "JWT", "at+jwt"})
"""What `typ` may say, or be absent. Logout notices (`logout+jwt`) are signed with the same keys and are no logins."""

MAX_LIFETIME = 10 * 366 * 86_400
"""Seconds from `iat` to `exp` of a token that names a session, unless `max_lifetime` says less: a sign-out is
remembered as long as a token of its session can live, and nothing is remembered for ever."""

FORBIDDEN_HEADERS = frozenset({"crit", "b64", "cty", "zip", "enc", "jku", "jwk", "x5u", "x5c"})
"""Header members that would change what the signature covers, or that offer a key of the sender's own choice."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class User:
    """Who is asking, as the token says; `session` is the sign-in that it was issued for, if it names one."""

    id: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a valid token: whose it is, the key that says so, and when the rules of time are met.

    The times are seconds since 1970: from `since`, when it was verified, until before `expires`. In between `iat` and
    `nbf` only lie further back, and the life that remains only grows shorter.
    """

    user: User
    key: Key
    kid: str | None
    since: float
    expires: float


class InvalidToken(Exception):
    """The token is not valid; the message says why, in words that hold nothing of the token."""


class Verifier:
    """The rules a token must meet; `issuer`, `audience` and `max_lifetime` are checked when they are set.

    A token that met them is remembered. After that only what can change is asked, each time: the clock and the keys.
    """

    def __init__(
        self,
        sources: Sequence[KeySource],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        max_lifetime: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = {algorithm: source for source in sources for algorithm in source.algorithms}
        self._issuer = issuer
        self._audience = audience
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._memory: TokenCache[Verified] = TokenCache()
        self._options: Options = {
            # Times and subject are checked here, more strictly.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_sub": False,
            "verify_jti": False,
            "verify_iss": issuer is not None,
            "verify_aud": audience is not None,
            "require": ["exp", "sub", *(["iss"] if issuer else []), *(["aud"] if audience else [])],
        }

    def verify(self, token: str) -> User:
        """The user of a valid token. Raises `InvalidToken`, or `KeysUnavailable` if no key could be had."""
        _check_length(token)
        known = self._memory.get(token)
        if known is not None:
            if self._holds(known):
                return known.user
            self._memory.forget(token)  # verified afresh, it is refused for the reason that it has now
        known = self._verify(token)
        self._memory.keep(token, known)
        return known.user

    def claims(self, token: str, types: Set[str | None]) -> dict[str, Any]:
        """The claims of a valid token whose `typ` is one of these, of any length of life. Raises as `verify` does."""
        _check_length(token)
        header, claims = _parse(token, types)
        self._verify_signature(token, header)
        _check_times(claims, self._clock())
        return claims

    def _verify(self, token: str) -> Verified:
        header, claims = _parse(token, TYPES)
        key = self._verify_signature(token, header)
        now = self._clock()  # read once, and after the keys, which may have been waited for
        expires = _check_times(claims, now)
        self._check_life(claims, now)
        # Never another claim instead of `sub`: an e-mail-verification token has an `email` and no `sub`.
        user = User(identifier(claims, "sub"), self._session(claims))
        return Verified(user, key, header.get("kid"), since=now, expires=expires)

    def _holds(self, known: Verified) -> bool:
        # The key's algorithm is the token's: PyJWT saw to it. The clock comes last here, too.
        keys = self._sources[known.key.algorithm].find(known.key.algorithm, known.kid)
        return known.key in keys and known.since <= self._clock() < known.expires

    def _verify_signature(self, token: str, header: dict[str, Any]) -> Key:
        """The key that signed it."""
        algorithm, kid = header.get("alg"), header.get("kid")
        # The token's word picks the family; which algorithms there are is configuration's word alone.
        source = self._sources.get(algorithm) if isinstance(algorithm, str) else None
        if source is None or not isinstance(algorithm, str):
            raise InvalidToken("the token is signed with an algorithm that is not accepted")
        if kid is not None and not isinstance(kid, str):
            raise InvalidToken("the key id of the token is not a string")
        keys = source.find(algorithm, kid)
        if not keys:
            raise InvalidToken("the token is signed with an unknown key")
        for key in keys:
            try:
                self._decode(token, key)
            except jwt.InvalidSignatureError:
                continue  # perhaps it was signed with the secret before
            return key
        raise InvalidToken("the signature of the token is wrong")

    def _decode(self, token: str, key: Key) -> None:
        try:
            jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options=self._options,
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.InvalidIssuerError as error:
            raise InvalidToken("the token comes from another issuer") from error
        except jwt.InvalidAudienceError as error:
            raise InvalidToken("the token is meant for another audience") from error
        except jwt.MissingRequiredClaimError as error:
            raise InvalidToken(f"the token has no {error.claim}") from error
        # PyJWT raises bare ValueError and TypeError, too, for values of a type it did not expect.
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken("the token cannot be read") from error

    def _check_life(self, claims: dict[str, Any], now: float) -> None:
        expires, issued = numeric_date(claims, "exp"), numeric_date(claims, "iat")
        life = (expires or 0) - (now if issued is None else issued)
        if self._max_lifetime is not None and life > self._max_lifetime:
            raise InvalidToken("the token lives longer than is accepted here")

    def _session(self, claims: dict[str, Any]) -> str | None:
        if "sid" not in claims:
            return None
        issued, expires = numeric_date(claims, "iat"), numeric_date(claims, "exp")
        if issued is None or expires is None or expires - issued > max_session_token_lifetime(self._max_lifetime):
            raise InvalidToken("the token names a session and has no iat, or lives longer than is accepted here")
        return identifier(claims, "sid")


def max_session_token_lifetime(max_lifetime: int | None) -> int:
    """Seconds that a token which names a session may live."""
    return min(max_lifetime or MAX_LIFETIME, MAX_LIFETIME)


def _check_length(token: str) -> None:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("the token is too long")


def _parse(token: str, types: Set[str | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token in canonical compact form, not yet verified."""
    parts = token.split(".")
    if len(parts) != 3 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise InvalidToken("the token is not a signed JWT")
    header, claims, _ = (_decode_segment(part) for part in parts)
    head = _strict_object(header)
    if FORBIDDEN_HEADERS & head.keys():
        raise InvalidToken("the header of the token has a member that is not accepted")
    if ("typ" in head and not isinstance(head["typ"], str)) or head.get("typ") not in types:
        raise InvalidToken("the token is of another type")
    return head, _strict_object(claims)


def _decode_segment(segment: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise InvalidToken("the token is not base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        raise InvalidToken("the token is not canonical base64url")
    return raw


def _strict_object(raw: bytes) -> dict[str, Any]:
    try:
        value = strict_json.loads(raw)
    except ValueError as error:
        raise InvalidToken("the token does not hold strict JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken("the token does not hold a JSON object")
    return value


def _check_times(claims: dict[str, Any], now: float) -> float:
    """When it expires."""
    expires = numeric_date(claims, "exp")
    if expires is None:
        raise InvalidToken("the token has no exp")
    if now >= expires:
        raise InvalidToken("the token has expired")
    issued, not_before = numeric_date(claims, "iat"), numeric_date(claims, "nbf")
    if issued is not None and issued > now + SKEW:
        raise InvalidToken("the token was issued in the future")
    if not_before is not None and not_before > now + SKEW:
        raise InvalidToken("the token is not valid yet")
    return expires


def numeric_date(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), seconds since 1970; absent is None."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} of the token is not a number")
    if not 0 <= value <= FAR_FUTURE:  # compared as it is: not every integer can become a float
        raise InvalidToken(f"{name} of the token is not a date")
    return float(value)


def identifier(claims: dict[str, Any], name: str) -> str:
    """The id of a user, a session or a notice: an opaque string without control characters."""
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_IDENTIFIER_LENGTH:
        raise InvalidToken(f"{name} of the token is not an id")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise InvalidToken(f"{name} of the token is not an id")
    return value
