"""The name of a request, shared by its answer, its error body and its log lines."""

from __future__ import annotations

import re
from random import getrandbits

from flask import Request, request

HEADER = "X-Request-Id"
SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""What a client may choose: nothing that could break out of a header or a log line."""

_KEY = "taskapi.http.request_id"


def request_id(asked: Request = request) -> str:
    """The client's `X-Request-Id` if it is sane, otherwise one of our own, the same for the whole request."""
    environ = asked.environ
    known: str | None = environ.get(_KEY)
    if known is None:
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        known = environ[_KEY] = sent if SANE.fullmatch(sent) else f"{getrandbits(128):032x}"
    return known
