"""A logout token becomes a `Notice`, or a named refusal (OpenID Connect Back-Channel Logout 1.0, section 2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .tokens import TokenRefused, User, Verifier, identifier, moment

TYPES = frozenset({"logout+jwt"})
"""Section 2.4 recommends it, so that no other token passes for a notice. Ours must say it."""

EVENT = "http://schemas.openid.net/event/backchannel-logout"

LONGEST_LIFE = 600
"""Seconds from `iat` to `exp` at most (section 4 recommends two minutes): how long a notice is remembered."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The issuer says that a session has ended: `user.session`. `id` is the notice's own."""

    id: str
    user: User
    expires_at: datetime


def read_notice(verifier: Verifier, token: str) -> Notice:
    """The notice that a valid logout token is. Raises `TokenRefused`, or `KeysUnavailable` if no key could be had.

    Both `sub` and `sid` are required: we end one session of one user, never all.
    """
    claims = verifier.claims(token, TYPES)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise TokenRefused("the token does not say that it is about a sign-out")
    if "nonce" in claims:
        raise TokenRefused("the token has a nonce, which a logout token must not have")
    issued, expires = moment(claims, "iat"), moment(claims, "exp")
    if issued is None or expires is None or expires - issued > LONGEST_LIFE:
        raise TokenRefused(f"the token has no iat, or lives longer than {LONGEST_LIFE} seconds")
    user = User(identifier(claims, "sub"), identifier(claims, "sid"))
    return Notice(identifier(claims, "jti"), user, datetime.fromtimestamp(expires, UTC))
