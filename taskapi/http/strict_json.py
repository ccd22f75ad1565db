"""JSON that means one thing only (RFC 8259 with I-JSON's rules, RFC 7493): for tokens and bodies alike."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(raw: bytes) -> Any:
    """Parse strict UTF-8 JSON; raise ValueError for anything that two parsers could read in two ways.

    Refused beside malformed text: a byte order mark, other encodings, duplicate members, NaN and Infinity and numbers
    that become so, nesting deeper than the interpreter follows, integers of thousands of digits.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_reject_duplicates,
            parse_constant=_refuse,
            parse_float=_reject_non_finite,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _reject_non_finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _refuse(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
