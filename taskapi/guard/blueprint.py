"""Blueprints of user data: a before_request hook checks the token, the path's user, the rate limit and the body."""

from __future__ import annotations

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import NotFound

from ..auth.hook import rejection, require_user
from ..http.errors import TooManyRequests, http_exception, problem_response
from ..http.request import check_headers, read_body
from ..http.routing import current_application, current_request
from .large_bodies import hold_permit
from .rate_limit import enforce_rate_limit


def guarded_blueprint(name: str, import_name: str, url_prefix: str) -> Blueprint:
    """Return a blueprint whose views only the user of the path can call.

    Before each view, except for OPTIONS, a hook authenticates the user, counts the request against the rate limit and
    reads the body (with a permit, if it may be large), in this order: no body is read for an unauthenticated request,
    and a rejected body is counted, too.
    """
    bp = Blueprint(name, import_name, url_prefix=url_prefix)
    bp.before_request(_check_request)
    return bp


def init_app(app: Flask) -> None:
    """Replace the 404 of a path that does not exist by 401 if the request has an invalid bearer token."""
    app.register_error_handler(NotFound, _unknown_path)


def _unknown_path(error: NotFound) -> Response:
    """Return 401 if the request has a bearer token that is rejected, otherwise 404; may wait for a fetch of the keys.

    A user whose id contains a slash, or is `..`, has no path that exists, and would never learn why.
    """
    rejected = rejection(current_application(), current_request())
    return problem_response(rejected) if rejected else http_exception(error)


def _check_request() -> None:
    """Authenticate the user of the path, check the rate limit, and read the body, with a permit if it may be large.

    Sets `g.user` and removes `user_id` from the view's arguments. Does nothing for OPTIONS. Raises a `Problem` if a
    check fails (403 for the path of another user), `KeysUnavailable` and `DatabaseUnavailable`.
    """
    app, req = current_application(), current_request()
    if req.method == "OPTIONS":  # a CORS preflight has no token (Fetch, section 4.8), and calls no view
        return
    user = require_user(app, req)
    try:
        enforce_rate_limit(app, req, user)
    except TooManyRequests:
        check_headers(req)  # 411, 413 and 415, if the headers show them, take precedence; no body is read
        raise
    read_body(req, lambda: hold_permit(user))
