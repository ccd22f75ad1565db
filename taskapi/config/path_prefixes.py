"""Path prefixes under which a proxy publishes the service; from URL_PREFIX and from X-Forwarded-Prefix."""

from __future__ import annotations

import re

MAX_PREFIX_LENGTH = 200
"""Maximum characters of a path prefix."""

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def parse_path_prefix(text: str) -> str | None:
    """Return a path prefix such as `/tasks-api` without a slash at its end, "" for `/`; None if it is invalid.

    It consists of segments of unreserved ASCII characters (RFC 3986, section 2.3) that are neither empty nor `.` or
    `..`, so a URL that begins with it is a path of the same host for every client (`//host` is not). At most
    `MAX_PREFIX_LENGTH` characters.
    """
    prefix = text.removesuffix("/")
    if not prefix:
        return "" if text == "/" else None
    is_valid = len(prefix) <= MAX_PREFIX_LENGTH and _PREFIX.fullmatch(prefix)
    return prefix if is_valid and {".", ".."}.isdisjoint(prefix.split("/")) else None
