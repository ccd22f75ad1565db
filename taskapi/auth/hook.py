"""Authentication: set `g.user` from the bearer token of the Authorization header, or fail with 401, 403 or 503.

Another Flask app may use `init_app` and `authenticate`, which need no database (docs/better-auth.md).
"""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Flask, Request, Response, g

from ..config.settings import Config
from ..http.errors import RETRY_AFTER, Forbidden, ServiceUnavailable, Unauthorized, problem_response
from ..telemetry.limited_log import limited_log
from ..telemetry.metrics import UNAUTHORIZED
from .claims import EXPIRED, InvalidToken
from .issuer_clock import IssuerClock
from .jwks_cache import JWKS
from .keys import KeySource, KeysUnavailable, SharedSecrets
from .sessions import EndedSessions
from .tokens import User, Verifier

log = logging.getLogger(__name__)

REALM = 'Bearer realm="taskapi"'

_VERIFIER = "taskapi.verifier"
_SESSIONS = "taskapi.sessions"
_CLOCK = "taskapi.issuer_clock"
_KEY_SET = "taskapi.key_set"


def init_app(app: Flask, config: Config) -> None:
    """Store the token verifier and the cache of ended sessions in `app.extensions`; fetches no keys yet.

    Registers handlers that respond 401 and 503 if `authenticate` raises.
    """
    sources: list[KeySource] = []
    clock = app.extensions[_CLOCK] = IssuerClock()
    if config.secrets:
        sources.append(SharedSecrets(config.secrets))
    if config.jwks_url:
        key_set = JWKS(config.jwks_url, proxy=config.jwks_proxy, on_headers=clock.observe_response)
        app.extensions[_KEY_SET] = key_set
        sources.append(key_set)
    app.extensions[_VERIFIER] = Verifier(
        sources,
        issuer=config.issuer,
        audience=config.audience,
        max_lifetime=config.max_lifetime,
        not_before=config.tokens_not_before,
    )
    app.extensions[_SESSIONS] = EndedSessions(max_lifetime=config.max_lifetime)
    app.register_error_handler(Unauthorized, problem_response)
    app.register_error_handler(KeysUnavailable, _keys_unavailable)


def verifier(app: Flask) -> Verifier:
    """Return the token verifier of an application."""
    stored: Verifier = app.extensions[_VERIFIER]
    return stored


def ended_sessions(app: Flask) -> EndedSessions:
    """Return this worker's cache of ended sessions."""
    stored: EndedSessions = app.extensions[_SESSIONS]
    return stored


def issuer_clock(app: Flask) -> IssuerClock:
    """Return what this worker knows about the issuer's clock."""
    stored: IssuerClock = app.extensions[_CLOCK]
    return stored


def prefetch_keys(app: Flask) -> None:
    """Start a fetch of the key set, if there is one: what is wrong with it, or with the clock, is then in the log."""
    if _KEY_SET in app.extensions:
        app.extensions[_KEY_SET].prefetch()


def log_rejection(app: Flask, what: str, error: InvalidToken) -> None:
    """Log why a token was rejected, at most once per minute and reason; nothing that the client chose is logged.

    `what` names the kind of token, such as "a token". An expired one is logged as information, others as warnings. One
    that was issued in the future is a sign of a wrong clock, which is noted.
    """
    if error.issued_at is not None:
        issuer_clock(app).observe_issue(error.issued_at)
    level = logging.INFO if str(error) == EXPIRED else logging.WARNING
    message = f"{what} was rejected: {error}" + (f" ({error.expected})" if error.expected else "")
    limited_log(app, log).write(level, f"{what}: {error}", message)


def authenticate(app: Flask, request: Request) -> User:
    """Verify the bearer token of a request and return its user, whose session may have ended; does not set `g.user`.

    The request may wait for a fetch of the keys. Raises `Unauthorized` (401) and `KeysUnavailable` (503).
    """
    token = _bearer_token(request.environ.get("HTTP_AUTHORIZATION", ""))
    try:
        return verifier(app).verify(token)
    except InvalidToken as error:
        log_rejection(app, "a token", error)
        UNAUTHORIZED.add(error.kind)
        raise _invalid_token(str(error)) from error


def require_user(app: Flask, request: Request) -> User:
    """Verify the bearer token and its session, set `g.user`, compare it with the path's user, and return it.

    `user_id` is removed from the view's arguments, so a view can use no other user than `g.user`. No row of the user is
    read; the request may wait for a fetch of the keys or a read of the ended sessions. Raises `Unauthorized` (401),
    `Forbidden` (403, also for a path without a user), `KeysUnavailable` and `DatabaseUnavailable` (503).
    """
    user = authenticate(app, request)
    if ended_sessions(app).contains(user):
        UNAUTHORIZED.add("session_ended")
        raise _invalid_token("the session of the token has ended")
    g.user = user
    if (request.view_args or {}).pop("user_id", None) != user.id:
        raise Forbidden("The token is another user's than the path.")
    return user


def rejection(app: Flask, request: Request) -> Unauthorized | None:
    """Return the `Unauthorized` (401) of a request whose bearer token is rejected; None if it is valid or absent.

    None also while keys cannot be fetched. The request may wait for such a fetch.
    """
    if request.environ.get("HTTP_AUTHORIZATION", "").strip().lower().startswith("bearer "):
        with suppress(KeysUnavailable):
            try:
                authenticate(app, request)
            except Unauthorized as error:
                return error
    return None


def _keys_unavailable(_: KeysUnavailable) -> Response:
    """Return 503 with `Retry-After`: without keys a token can be neither accepted nor rejected."""
    detail = "The keys to check the token with cannot be fetched. Try again shortly."
    return problem_response(ServiceUnavailable(detail, headers=RETRY_AFTER))


def _invalid_token(reason: str) -> Unauthorized:
    """Return, not raise, a 401 for an invalid token, with its `WWW-Authenticate` challenge (RFC 6750, section 3)."""
    challenge = f'{REALM}, error="invalid_token", error_description="{reason}"'
    return Unauthorized(f"Sign in again: {reason}.", headers={"WWW-Authenticate": challenge})


def _bearer_token(header: str) -> str:
    """Return the token of an Authorization header with the scheme Bearer, in any case (RFC 6750, section 2.1).

    Raises `Unauthorized` for an empty header, another scheme, or no token.
    """
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        UNAUTHORIZED.add("missing")
        # Without a token the challenge has no error attributes (RFC 6750, section 3.1).
        raise Unauthorized("Send `Authorization: Bearer <token>`.", headers={"WWW-Authenticate": REALM})
    return token.strip()
