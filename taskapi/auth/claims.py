"""Claims of a token: dates and ids, and why a token is not valid."""

from __future__ import annotations

import unicodedata
from typing import Any

CLOCK_SKEW = 30
"""Seconds that `iat` and `nbf` may be ahead of our clock. `exp` has no tolerance, which would extend the lifetime."""

MAX_IDENTIFIER_LENGTH = 255
"""Maximum characters of the id of a user (`sub`), a session (`sid`) or a logout token (`jti`)."""

MAX_NUMERIC_DATE = 253_402_300_799
"""The last second of the year 9999, the maximum of Python's datetime."""

EXPIRED = "the token has expired"
"""The only reason that is usual: clients keep tokens until they are refused."""


class InvalidToken(Exception):
    """The token is not valid; the message gives the reason and contains nothing of the token.

    `expected` is for the log only: what a claim must be, and what it is in a token whose signature is right.
    `issued_at` is the `iat` of a token whose signature is right, if it is in the future. `kind` is for the metrics: a
    value of the label of `UNAUTHORIZED`.
    """

    def __init__(
        self, reason: str, expected: str = "", *, issued_at: float | None = None, kind: str = "malformed"
    ) -> None:
        super().__init__(reason)
        self.expected, self.kind = expected, kind
        self.issued_at = issued_at


def check_times(claims: dict[str, Any], now: float) -> float:
    """Return `exp`, in seconds since 1970, if the token is valid at `now`; raise `InvalidToken` if it is not.

    Checks `exp`, which is required, and `iat` and `nbf`, which may be absent, or ahead of `now` by `CLOCK_SKEW`. Call
    it after the verification of the signature.
    """
    expires = numeric_date(claims, "exp")
    if expires is None:
        raise InvalidToken("the token has no exp")
    if now >= expires:
        raise InvalidToken(EXPIRED, kind="expired")
    issued, not_before = numeric_date(claims, "iat"), numeric_date(claims, "nbf")
    if issued is not None and issued > now + CLOCK_SKEW:
        raise InvalidToken("the token was issued in the future", issued_at=issued, kind="not_yet_valid")
    if not_before is not None and not_before > now + CLOCK_SKEW:
        raise InvalidToken("the token is not valid yet", kind="not_yet_valid")
    return expires


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
    """Return a claim that is the id of a user, a session or a logout token; `InvalidToken` if it is absent or no id.

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


def mismatch(claims: dict[str, Any], name: str, required: str | None) -> str:
    """Return "<name>: expected <required>, got <claim, or none>" for the log; "" if `required` is None.

    It does not compare them. Call it only after the signature is verified, so that the claim is the issuer's; it is
    quoted and cut off.
    """
    if required is None:
        return ""
    actual = f"{claims[name]!a:.200}" if name in claims else "none"
    return f"{name}: expected {required!a}, got {actual}"
