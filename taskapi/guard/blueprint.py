"""What stands before every view of a user's data, in this order, for every blueprint alike."""

from __future__ import annotations

from flask import Blueprint, current_app, request

from ..auth.hook import require_user
from ..http.errors import TooManyRequests
from ..http.request import check_head, read_body
from ..http.routing import unproxy
from .large_bodies import hold_permit
from .rate_limit import enforce_rate_limit


def guarded_blueprint(name: str, import_name: str, url_prefix: str) -> Blueprint:
    """A blueprint that lets nobody but the path's user in, reads a body within its bounds and counts the request.

    Who asks is settled, and the request is counted, before a byte of the body is read: a refused body counts, too.
    """
    bp = Blueprint(name, import_name, url_prefix=url_prefix)
    bp.before_request(_check_request)
    return bp


def _check_request() -> None:
    app, asked = unproxy(current_app), unproxy(request)
    if asked.method == "OPTIONS":  # a preflight carries no token (Fetch, section 4.8), and no view is called for it
        return
    user = require_user(app, asked)
    try:
        enforce_rate_limit(app, asked, user)
    except TooManyRequests:
        check_head(asked)  # 413 and 415 come before 429 where the headers alone show them: no body is read any more
        raise
    read_body(asked, lambda: hold_permit(user))
