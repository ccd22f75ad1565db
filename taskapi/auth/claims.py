"""Strict reading of the claims of a token: dates and ids. Independent of HTTP."""

from __future__ import annotations

import unicodedata
from typing import Any

MAX_IDENTIFIER_LENGTH = 255
"""Maximum characters of the id of a user (`sub`), a session (`sid`) or a logout token (`jti`)."""

MAX_NUMERIC_DATE = 253_402_300_799
"""The last second of the year 9999, the maximum of Python's datetime."""


class InvalidToken(Exception):
    """The token is not valid; the message gives the reason and contains nothing of the token."""


def numeric_date(claims: dict[str, Any], name: str) -> float | None:
    """Return a NumericDate claim (RFC 7519, section 2) in seconds since 1970; None if absent.

    Raises `InvalidToken` for another type, and for a time outside the years 1970 to 9999.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} of the token is not a number")
    if not 0 <= value <= MAX_NUMERIC_DATE:  # compared before the conversion: float() fails for huge integers
        raise InvalidToken(f"{name} of the token is not a date")
    return float(value)


def identifier(claims: dict[str, Any], name: str) -> str:
    """Return the claim with the id of a user, a session or a logout token; raise `InvalidToken` if it is not an id.

    An id is a string of 1 to `MAX_IDENTIFIER_LENGTH` characters without control characters and surrogates.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_IDENTIFIER_LENGTH:
        raise InvalidToken(f"{name} of the token is not an id")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise InvalidToken(f"{name} of the token is not an id")
    return value


def subject(claims: dict[str, Any]) -> str:
    """Return the id of the user (`sub`); raise `InvalidToken` if it is not an id, or cannot be a segment of a URL path.

    Clients remove the segments `.` and `..` from a path (RFC 3986, section 5.2.4), also if they are percent-encoded,
    and servers decode `%2F` to a slash before they split a path.
    """
    value = identifier(claims, "sub")
    if value in (".", "..") or "/" in value:
        raise InvalidToken("sub of the token cannot be part of a URL: it contains a slash, or is one or two dots")
    return value
