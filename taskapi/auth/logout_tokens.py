"""Validation of logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .claims import InvalidToken, identifier, numeric_date
from .tokens import User, Verifier

TYPES = frozenset({"logout+jwt"})
"""Accepted `typ`. Section 2.4 recommends it, against confusion with other tokens; this service requires it."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

MAX_LIFETIME = 600
"""Maximum seconds from `iat` to `exp`; a `jti` is stored until `exp`. Section 4 recommends two minutes."""


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A valid logout token: `id` is its `jti`, and `user.session` the session to end."""

    id: str
    user: User
    expires_at: datetime


def parse_logout_token(verifier: Verifier, token: str) -> LogoutToken:
    """Verify a logout token, which may have been used before; return its parts.

    Raises `InvalidToken`, and `KeysUnavailable` if the keys cannot be fetched now. It must have the `typ` logout+jwt,
    `iat`, `jti` and the logout event, no `nonce`, and live `MAX_LIFETIME` at most. Both `sub` and `sid` are required: a
    logout token ends one session of one user, never all.
    """
    claims = verifier.verify_claims(token, TYPES)
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
