"""The Authorization header becomes `g.user`, or the request ends here with 401, 403 or 503."""

from __future__ import annotations

from flask import Flask, current_app, g, request

from ..config import Config
from ..errors import RETRY_AFTER, Forbidden, Unauthorized, Unavailable
from .keys import JWKS, KeySource, KeysUnavailable, SharedSecrets
from .tokens import TokenRefused, Verifier

REALM = 'Bearer realm="taskapi"'

_EXTENSION = "taskapi.verifier"


def init_app(app: Flask, config: Config) -> None:
    """Set up the verifier that the configuration asks for."""
    sources: list[KeySource] = []
    if config.secrets:
        sources.append(SharedSecrets(config.secrets))
    if config.jwks_url:
        sources.append(JWKS(config.jwks_url))
    app.extensions[_EXTENSION] = Verifier(
        sources, issuer=config.issuer, audience=config.audience, max_lifetime=config.max_lifetime
    )


def require_user() -> None:
    """Set `g.user` from the token, and refuse a path that is another's, before anything is looked up.

    The path's user is taken out of the view's arguments: a view has no user but `g.user` to ask for.
    """
    if request.method == "OPTIONS":
        return  # a preflight carries no token (Fetch, section 4.8); Flask answers it without calling a view
    token = _bearer(request.headers.get("Authorization", ""))
    verifier: Verifier = current_app.extensions[_EXTENSION]
    try:
        g.user = verifier.verify(token)
    except TokenRefused as refusal:
        challenge = f'{REALM}, error="invalid_token", error_description="{refusal}"'
        raise Unauthorized(f"Sign in again: {refusal}.", headers={"WWW-Authenticate": challenge}) from refusal
    except KeysUnavailable as error:
        raise Unavailable(
            "The keys to check the token with cannot be fetched. Try again shortly.", headers=RETRY_AFTER
        ) from error
    if (request.view_args or {}).pop("user_id", None) != g.user.id:
        raise Forbidden("The token is another user's than the path.")


def _bearer(header: str) -> str:
    """The credentials of `Bearer` (RFC 6750, section 2.1; the scheme in any case: RFC 9110, section 11.1)."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        # No token came, so nothing is said about one (RFC 6750, section 3.1).
        raise Unauthorized("Send `Authorization: Bearer <token>`.", headers={"WWW-Authenticate": REALM})
    return token.strip()
