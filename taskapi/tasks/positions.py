"""Manual order as text between any two of which there is another (fractional indexing): moving writes one row.

A new task's place is made of its id, a letter that tells how many digits follow and the digits, so it comes after
all before it and nothing has to be looked up.
"""

from __future__ import annotations

import re

from fractional_indexing import FIError, generate_key_between
from sqlalchemy import ColumnElement, Text, cast, func
from sqlalchemy.orm import InstrumentedAttribute

MAX_POSITION = 200
"""Characters after which the user's tasks are numbered anew: about a thousand moves to one and the same spot."""

ALPHABET = "abcdefghijklmnopqrs"

_POSITION = re.compile(f"[A-Z{ALPHABET}][0-9A-Za-z]{{1,{MAX_POSITION - 1}}}")


def initial_position(id: int) -> str:
    """The place of a new task: behind all that were made before."""
    digits = str(id)
    return ALPHABET[len(digits) - 1] + digits


def initial_position_sql(id: InstrumentedAttribute[int]) -> ColumnElement[str]:
    """The same, said to the database."""
    digits = cast(id, Text)
    return func.substr(ALPHABET, func.length(digits), 1).concat(digits)


def between(low: str | None, high: str | None) -> str | None:
    """A place between two, None meaning an end; None if there is no room, and all must be numbered anew."""
    try:
        place: str = generate_key_between(low, high)
    except (FIError, IndexError, ValueError):  # the latter two for text that never was a place
        return None
    return place if len(place) <= MAX_POSITION else None


def implied_task_id(place: str) -> int | None:
    """The id that must have been given for all new tasks to come behind this place; None for text that is no place."""
    if not _POSITION.fullmatch(place) or between(place, None) is None:
        return None
    if place[0] not in ALPHABET:
        return 0  # before all that were ever made
    digits = place[1 : 2 + ALPHABET.index(place[0])]
    most: int = 10 ** len(digits) - 1
    # Before the least number of so many digits, nothing of fewer comes behind; no number comes behind letters.
    return max(int(digits), most // 10) if digits.isdecimal() else most
