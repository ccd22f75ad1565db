"""Positions of the manual order: text keys with another key between any two (fractional indexing).

A move therefore writes one row. The initial position of a task is made of its id: a letter for the number of digits,
then the digits. It sorts after the initial positions of all earlier tasks, without a query.
"""

from __future__ import annotations

import re

from fractional_indexing import FIError, generate_key_between
from sqlalchemy import ColumnElement, Text, cast, func
from sqlalchemy.orm import InstrumentedAttribute

MAX_POSITION = 200
"""Maximum characters of a position. About 1,000 moves to the same spot exceed it; then all tasks are renumbered."""

ALPHABET = "abcdefghijklmnopqrs"
"""First letters of positions, by the number of digits after them (1 to 19)."""

_POSITION = re.compile(f"[A-Z{ALPHABET}][0-9A-Za-z]{{1,{MAX_POSITION - 1}}}")


def initial_position(id: int) -> str:
    """Return the position of a new task, which sorts after the initial positions of all smaller ids."""
    digits = str(id)
    return ALPHABET[len(digits) - 1] + digits


def initial_position_sql(id: InstrumentedAttribute[int]) -> ColumnElement[str]:
    """Return the SQL expression that computes `initial_position` of the column `id`."""
    digits = cast(id, Text)
    return func.substr(ALPHABET, func.length(digits), 1).concat(digits)


def between(low: str | None, high: str | None) -> str | None:
    """Return a position between `low` and `high`; None as an argument stands for the start or the end of the order.

    Returns None if there is none within `MAX_POSITION` characters, `low` is not below `high`, or one is invalid.
    """
    try:
        position: str = generate_key_between(low, high)
    except (FIError, IndexError, ValueError):  # IndexError and ValueError: not a position at all (imported text)
        return None
    return position if len(position) <= MAX_POSITION else None


def implied_task_id(position: str) -> int | None:
    """Return the last task id that must be allocated so that all new tasks sort after this position.

    0 if new tasks sort after it anyway; None for an invalid position.
    """
    if not _POSITION.fullmatch(position) or between(position, None) is None:
        return None
    if position[0] not in ALPHABET:
        return 0  # sorts before all initial positions
    digits = position[1 : 2 + ALPHABET.index(position[0])]
    largest: int = 10 ** len(digits) - 1
    # New ids need at least this number of digits to sort after the position; letters sort after all digits.
    return max(int(digits), largest // 10) if digits.isdecimal() else largest
