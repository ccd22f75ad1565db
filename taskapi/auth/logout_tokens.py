"""A logout token becomes a `LogoutToken`, or a named refusal (OpenID Connect Back-Channel Logout 1.0, section 2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .tokens import InvalidToken, User, Verifier, identifier, numeric_date

TYPES = frozenset({"logout+jwt"})
"""Section 2.4 recommends it, so that no other token passes for a notice. Ours must say it."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

MAX_LIFETIME = 600
"""Seconds from `iat` to `exp` at most (section 4 recommends two minutes): how long a notice is remembered."""


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """The issuer says that a session has ended: `user.session`. `id` is the notice's own."""

    id: str
    user: User
    expires_at: datetime


def parse_logout_token(verifier: Verifier, token: str) -> LogoutToken:
    """The notice that a valid logout token is. Raises `InvalidToken`, or `KeysUnavailable` if no key could be had.

    Both `sub` and `sid` are required: we end one session of one user, never all.
    """
    claims = verifier.claims(token, TYPES)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise InvalidToken("the token does not say that it is about a sign-out")
    if "nonce" in claims:
        raise InvalidToken("the token has a nonce, which a logout token must not have")
    issued, expires = numeric_date(claims, "iat"), numeric_date(claims, "exp")
    if issued is None or expires is None or expires - issued > MAX_LIFETIME:
        raise InvalidToken(f"the token has no iat, or lives longer than {MAX_LIFETIME} seconds")
    user = User(identifier(claims, "sub"), identifier(claims, "sid"))
    return LogoutToken(identifier(claims, "jti"), user, datetime.fromtimestamp(expires, UTC))
