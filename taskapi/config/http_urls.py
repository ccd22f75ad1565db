"""The HTTP URLs of the issuer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def key_set_url(issuer: str) -> str:
    """Return the address of the key set of a Better Auth URL: plus `/jwks`, or `/api/auth/jwks` if it has no path."""
    # Better Auth appends /api/auth to a base URL without a path, and uses one with a path unchanged.
    base = issuer.rstrip("/")
    return f"{base}/jwks" if urlsplit(base).path else f"{base}/api/auth/jwks"


def without_query(url: str) -> str:
    """Return a URL for the log, with `…` in place of its query string, which may contain a key."""
    base, mark, _ = url.partition("?")
    return f"{base}{mark}…" if mark else base


def is_http_url(value: str, *, query: bool = False) -> bool:
    """Return True for an http(s) URL with a host, without whitespace, credentials, bad port or fragment.

    A query string is allowed only with `query`.
    """
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for a port that is not a number
    except ValueError:
        return False
    if re.search(r"\s", value) or "@" in parts.netloc:
        # `urlsplit` removes line breaks; credentials in the URL would not be sent, but they would be logged.
        return False
    allowed = query or not parts.query
    return parts.scheme in ("http", "https") and bool(parts.hostname) and allowed and not parts.fragment
