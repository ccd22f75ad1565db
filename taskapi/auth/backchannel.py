"""`POST /backchannel-logout`: the issuer sends a logout token, and the session that it names ends."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from ..http.errors import InvalidLogoutToken
from ..http.request import accepts, read_body
from . import hook
from .claims import InvalidToken
from .logout_tokens import parse_logout_token
from .queries import Replayed

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_LOGOUT_BODY_BYTES = 16 * 1024
"""Maximum size of the form; a logout token has about 500 bytes."""

bp = Blueprint("backchannel", __name__)
bp.before_request(lambda: read_body(request))


@bp.post("/backchannel-logout")
@accepts(FORM_MEDIA_TYPE, max_bytes=MAX_LOGOUT_BODY_BYTES)
def logout() -> Response:
    """End a session: its tokens are refused from now on (OpenID Connect Back-Channel Logout 1.0, section 2.5).

    Responds with an empty 200. Raises `InvalidLogoutToken` (400) unless the form has one valid logout token that was
    not used before; `KeysUnavailable` and `DatabaseUnavailable` (503).
    """
    tokens = request.form.getlist("logout_token")  # other fields are ignored (section 2.5)
    if len(tokens) != 1:
        raise InvalidLogoutToken("Send one form field `logout_token`.")
    try:
        hook.ended_sessions(current_app).end(parse_logout_token(hook.verifier(current_app), tokens[0]))
    except InvalidToken as error:
        hook.log_rejection(current_app, "a logout token", error)
        raise InvalidLogoutToken(f"No session was ended: {error}.") from error
    except Replayed as error:
        raise InvalidLogoutToken("No session was ended: this logout token was used before.") from error
    # An empty 200 that no cache stores (section 2.8).
    response = Response(headers={"Cache-Control": "no-store"})
    del response.headers["Content-Type"]
    return response
