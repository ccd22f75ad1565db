"""Token verification: a JWT becomes a `User` or an `InvalidToken`. Independent of HTTP.

PyJWT verifies signature, issuer and audience. Tokens that PyJWT accepts, and a verifier of bearer tokens should not,
are rejected before (RFC 8725, and RFC 7515 for the serialization).
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from ..http import strict_json
from .claims import InvalidToken, check_times, identifier, mismatch, numeric_date, subject
from .jwk_parser import Key
from .keys import KeySource
from .token_cache import TokenCache

MAX_TOKEN_LENGTH = 8192
"""Maximum length; Better Auth's largest token, which contains the whole user row, has about 1 KB."""

TYPES = frozenset({None, "JWT", "at+jwt"})
"""Accepted `typ` of access tokens; None means absent. Logout tokens (`logout+jwt`) are signed with the same keys."""

MAX_LIFETIME = 10 * 366 * 86_400
"""Maximum seconds from `iat` to `exp` of a token with a `sid`, unless `max_lifetime` is less. A sign-out is stored as
long as a token of its session can be valid, so that time needs a bound."""

FORBIDDEN_HEADERS = frozenset({"crit", "b64", "cty", "zip", "enc", "jku", "jwk", "x5u", "x5c"})
"""Header members that change what the signature covers, or that contain or point to a key of the sender's choice."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class User:
    """The user of a token: `id` is its `sub`, `session` its `sid`, None if it has none."""

    id: str
    session: str | None = None


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The cached result of a verification: the user, the key of the signature, and the time for which it holds.

    The times are seconds since 1970: from `since`, when the token was verified, until before `expires`. Within them the
    checks of `iat`, `nbf` and the lifetime cannot fail, because they only become easier to pass.
    """

    user: User
    key: Key
    kid: str | None
    since: float
    expires: float


class Verifier:
    """Verifies tokens; `issuer`, `audience` and, for access tokens, `max_lifetime` and `not_before` are checked if set.

    `max_lifetime` is in seconds; `not_before` is the earliest accepted `iat`, in seconds since 1970.
    """

    def __init__(
        self,
        sources: Sequence[KeySource],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        max_lifetime: int | None = None,
        not_before: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = {algorithm: source for source in sources for algorithm in source.algorithms}
        self._issuer = issuer
        self._audience = audience
        self._max_lifetime = max_lifetime
        self._not_before = not_before
        self._clock = clock
        self._cache: TokenCache[VerifiedToken] = TokenCache()
        self._options: Options = {
            # This module checks times and subject, more strictly.
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
        """Verify an access token and return its user; a cached token is checked against the clock and the keys only.

        May wait for a fetch of the keys. Raises `InvalidToken`, or `KeysUnavailable` if the keys cannot be fetched now.
        """
        _check_length(token)
        verified = self._cache.get(token)
        if verified is not None:
            if self._is_still_valid(verified):
                return verified.user
            self._cache.remove(token)  # the complete verification below raises the current reason
        verified = self._verify(token)
        self._cache.put(token, verified)
        return verified.user

    def verify_claims(self, token: str, types: Set[str | None]) -> dict[str, Any]:
        """Verify a token of a `typ` in `types`, with any lifetime; return its claims, uncached; raise as `verify`."""
        _check_length(token)
        header, claims = _parse(token, types)
        self._verify_signature(token, header, claims)
        check_times(claims, self._clock())
        return claims

    def _verify(self, token: str) -> VerifiedToken:
        """Verify form, header, signature, claims, times and session of an access token; return what to cache of it.

        Raises as `verify` does.
        """
        header, claims = _parse(token, TYPES)
        key = self._verify_signature(token, header, claims)
        now = self._clock()  # read once, and after the keys, for which the request may have waited
        expires = check_times(claims, now)
        self._check_lifetime(claims, now)
        # No other claim replaces `sub`: an e-mail-verification token has an `email` and no `sub`.
        user = User(subject(claims), self._session(claims))
        return VerifiedToken(user, key, header.get("kid"), since=now, expires=expires)

    def _is_still_valid(self, token: VerifiedToken) -> bool:
        """Return True if the key of a cached token is still in the key set and `since` <= now < `expires`.

        May wait for a fetch of the keys. Raises `KeysUnavailable`.
        """
        # PyJWT has checked that the key's algorithm is the token's. The clock is read after the keys, as in `_verify`.
        keys = self._sources[token.key.algorithm].find(token.key.algorithm, token.kid)
        return token.key in keys and token.since <= self._clock() < token.expires

    def _verify_signature(self, token: str, header: dict[str, Any], claims: dict[str, Any]) -> Key:
        """Verify signature, issuer, audience, and presence of `exp` and `sub`; return the key. Raises as `verify` does.

        The keys are those of the source that is configured for the header's `alg`, by its `kid`; each is tried.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        # `alg` only selects among the algorithms of the configured sources, which prevents algorithm confusion.
        source = self._sources.get(algorithm) if isinstance(algorithm, str) else None
        if source is None or not isinstance(algorithm, str):
            raise InvalidToken("the token is signed with an algorithm that is not accepted", kind="algorithm")
        if kid is not None and not isinstance(kid, str):
            raise InvalidToken("the key id of the token is not a string")
        keys = source.find(algorithm, kid)
        if not keys:
            raise InvalidToken("the token is signed with an unknown key", kind="unknown_key")
        for key in keys:
            try:
                self._decode(token, key, claims)
            except jwt.InvalidSignatureError:
                continue  # try the next key (the previous secret, during a rotation)
            return key
        raise InvalidToken("the signature of the token is wrong", kind="wrong_signature")

    def _decode(self, token: str, key: Key, claims: dict[str, Any]) -> None:
        """Verify signature, issuer and audience with one key; `claims`, parsed before, are only for messages.

        Raises `jwt.InvalidSignatureError` for a signature of another key, and `InvalidToken` for a wrong or absent
        claim.
        """
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
            raise InvalidToken(
                "the token comes from another issuer", mismatch(claims, "iss", self._issuer), kind="issuer"
            ) from error
        except jwt.InvalidAudienceError as error:
            raise InvalidToken(
                "the token is meant for another audience", mismatch(claims, "aud", self._audience), kind="audience"
            ) from error
        except jwt.MissingRequiredClaimError as error:
            required = {"iss": self._issuer, "aud": self._audience}.get(error.claim)
            kind = {"iss": "issuer", "aud": "audience"}.get(error.claim, "malformed")
            raise InvalidToken(
                f"the token has no {error.claim}", mismatch(claims, error.claim, required), kind=kind
            ) from error
        # PyJWT also raises ValueError and TypeError for values of unexpected types.
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken("the token cannot be read") from error

    def _check_lifetime(self, claims: dict[str, Any], now: float) -> None:
        """Raise `InvalidToken` if the time from `iat` (without it: `now`) to `exp` exceeds a configured maximum.

        Also if `iat` is before a configured time, or absent then.
        """
        expires, issued = numeric_date(claims, "exp"), numeric_date(claims, "iat")
        lifetime = (expires or 0) - (now if issued is None else issued)
        if self._max_lifetime is not None and lifetime > self._max_lifetime:
            raise InvalidToken("the token lives longer than is accepted here", kind="lifetime")
        if self._not_before is not None and (issued is None or issued < self._not_before):
            reason = "the token was issued before the time from which tokens are accepted here"
            raise InvalidToken(reason, kind="lifetime")

    def _session(self, claims: dict[str, Any]) -> str | None:
        """Return the `sid`, None if absent.

        Raises `InvalidToken` if it is not an id, or if the token has no `iat` or lives longer than
        `max_session_token_lifetime`.
        """
        if "sid" not in claims:
            return None
        issued, expires = numeric_date(claims, "iat"), numeric_date(claims, "exp")
        if issued is None or expires is None or expires - issued > max_session_token_lifetime(self._max_lifetime):
            raise InvalidToken(
                "the token names a session and has no iat, or lives longer than is accepted here", kind="lifetime"
            )
        return identifier(claims, "sid")


def max_session_token_lifetime(max_lifetime: int | None) -> int:
    """Return the maximum lifetime in seconds of a token with a `sid`: `max_lifetime` if set, at most `MAX_LIFETIME`."""
    return min(max_lifetime or MAX_LIFETIME, MAX_LIFETIME)


def _check_length(token: str) -> None:
    """Raise `InvalidToken` if a token has more than `MAX_TOKEN_LENGTH` characters."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidToken("the token is too long")


def _parse(token: str, types: Set[str | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token in canonical compact serialization, without verifying the signature.

    Raises `InvalidToken` for another form, a forbidden header member, or a `typ` that is not in `types`.
    """
    parts = token.split(".")
    if len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):
        raise InvalidToken("the token is not a signed JWT")
    header, claims, _ = (_decode_segment(part) for part in parts)
    header_members = _parse_object(header)
    if FORBIDDEN_HEADERS & header_members.keys():
        raise InvalidToken("the header of the token has a member that is not accepted")
    typ = header_members.get("typ")
    if ("typ" in header_members and not isinstance(typ, str)) or typ not in types:
        raise InvalidToken("the token is of another type", kind="type")
    return header_members, _parse_object(claims)


def _decode_segment(segment: str) -> bytes:
    """Return the bytes of unpadded base64url; raise `InvalidToken` for other text.

    Text with unused bits set is refused, too: it would be a second encoding of the same bytes.
    """
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise InvalidToken("the token is not base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        raise InvalidToken("the token is not canonical base64url")
    return raw


def _parse_object(raw: bytes) -> dict[str, Any]:
    """Return a parsed JSON object; raise `InvalidToken` if it is not strict JSON (`strict_json`) or not an object."""
    try:
        value = strict_json.loads(raw)
    except ValueError as error:
        raise InvalidToken("the token does not hold strict JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken("the token does not hold a JSON object")
    return value
