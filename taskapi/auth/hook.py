"""The Authorization header becomes `g.user`, or the request ends here with 401, 403 or 503."""

from __future__ import annotations

from flask import Flask, Request, Response, g

from ..config import Config
from ..http.errors import RETRY_AFTER, Forbidden, ServiceUnavailable, Unauthorized, problem_response
from .keys import JWKS, KeySource, KeysUnavailable, SharedSecrets
from .sessions import EndedSessions
from .tokens import InvalidToken, User, Verifier

REALM = 'Bearer realm="taskapi"'

_VERIFIER = "taskapi.verifier"
_SESSIONS = "taskapi.sessions"


def init_app(app: Flask, config: Config) -> None:
    """Set up the verifier that the configuration asks for."""
    sources: list[KeySource] = []
    if config.secrets:
        sources.append(SharedSecrets(config.secrets))
    if config.jwks_url:
        sources.append(JWKS(config.jwks_url))
    app.extensions[_VERIFIER] = Verifier(
        sources, issuer=config.issuer, audience=config.audience, max_lifetime=config.max_lifetime
    )
    app.extensions[_SESSIONS] = EndedSessions(max_lifetime=config.max_lifetime)
    app.register_error_handler(KeysUnavailable, _keys_unavailable)


def verifier(app: Flask) -> Verifier:
    """The verifier of this application."""
    found: Verifier = app.extensions[_VERIFIER]
    return found


def sessions(app: Flask) -> EndedSessions:
    """What this worker knows of ended sessions."""
    found: EndedSessions = app.extensions[_SESSIONS]
    return found


def require_user(app: Flask, asked: Request) -> User:
    """Set `g.user` from the token, and refuse a path that is another's, before anything is looked up.

    The path's user is taken out of the view's arguments: a view has no user but `g.user` to ask for.
    """
    token = _bearer_token(asked.environ.get("HTTP_AUTHORIZATION", ""))
    try:
        user = verifier(app).verify(token)
    except InvalidToken as refusal:
        raise _invalid_token(str(refusal)) from refusal
    if sessions(app).has(user):
        raise _invalid_token("the session of the token has ended")
    g.user = user
    if (asked.view_args or {}).pop("user_id", None) != user.id:
        raise Forbidden("The token is another user's than the path.")
    return user


def _keys_unavailable(_: KeysUnavailable) -> Response:
    """503: the token can be neither believed nor refused."""
    detail = "The keys to check the token with cannot be fetched. Try again shortly."
    return problem_response(ServiceUnavailable(detail, headers=RETRY_AFTER))


def _invalid_token(reason: str) -> Unauthorized:
    challenge = f'{REALM}, error="invalid_token", error_description="{reason}"'
    return Unauthorized(f"Sign in again: {reason}.", headers={"WWW-Authenticate": challenge})


def _bearer_token(header: str) -> str:
    """The credentials of `Bearer` (RFC 6750, section 2.1; the scheme in any case: RFC 9110, section 11.1)."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        # No token came, so nothing is said about one (RFC 6750, section 3.1).
        raise Unauthorized("Send `Authorization: Bearer <token>`.", headers={"WWW-Authenticate": REALM})
    return token.strip()
