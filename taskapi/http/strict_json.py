"""Strict JSON parser for tokens and bodies: RFC 8259 with the rules of I-JSON (RFC 7493)."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(raw: bytes) -> Any:
    """Parse UTF-8 JSON; raise ValueError for anything that parsers interpret differently.

    Rejects, in addition to malformed text: a byte order mark, other encodings, duplicate members, NaN and Infinity,
    numbers that overflow to them, nesting beyond the recursion limit, integers of thousands of digits.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_reject_duplicates,
            parse_constant=_reject_constant,
            parse_float=_reject_non_finite,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; raise ValueError if a name occurs twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _reject_non_finite(text: str) -> float:
    """Parse a number; raise ValueError if it overflows to infinity."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _reject_constant(_name: str) -> None:
    """Raise ValueError for NaN, Infinity and -Infinity, which Python's parser accepts."""
    raise ValueError("NaN and Infinity are not JSON")
