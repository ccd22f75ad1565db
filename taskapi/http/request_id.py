"""The request id, which the response headers, error bodies and log lines of a request share."""

from __future__ import annotations

import re
from random import getrandbits

from flask import Request, request

HEADER = "X-Request-Id"
VALID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Accepted ids of clients: they cannot inject into headers or log lines."""

_KEY = "taskapi.http.request_id"


def request_id(request: Request = request) -> str:
    """Return the `X-Request-Id` of a request if it is valid, otherwise a random id.

    All calls for a request return the same id.
    """
    environ = request.environ
    current: str | None = environ.get(_KEY)
    if current is None:
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        current = environ[_KEY] = sent if VALID.fullmatch(sent) else f"{getrandbits(128):032x}"
    return current
