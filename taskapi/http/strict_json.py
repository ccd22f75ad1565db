"""Strict JSON parser for tokens and bodies: RFC 8259 with the rules of I-JSON (RFC 7493)."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..concurrency.cooperative import wait_for_turn

PIECE_BYTES = 64 * 1024
"""Bytes of a long document that are decoded and parsed before other requests run: about 1 ms."""

MAX_VALUE_CHARACTERS = 256 * 1024
"""Maximum characters of an item of an array that `read_object` reads by items, and of any other member.

A value is parsed in one piece. The longest task with every character escaped has about 150,000 characters.
"""

MAX_MEMBERS = 100
"""Maximum members of a document that `read_object` reads."""

LONGEST_TOKEN = 12
"""Maximum characters before the end of a text at which the parser may stop because a token such as `false` is cut."""

ArrayReader = Callable[[Iterator[Any]], Any]
"""Reads the items of an array to its end, and returns what stands for the array in the document; or raises."""


class ValueTooLong(ValueError):
    """A value of a document that is read by items exceeds `MAX_VALUE_CHARACTERS`."""


def loads(raw: bytes) -> Any:
    """Parse UTF-8 JSON; raise ValueError for anything that parsers interpret differently.

    Rejects, in addition to malformed text: a byte order mark, other encodings, duplicate members, NaN and Infinity,
    numbers that overflow to them, nesting beyond the recursion limit, integers of thousands of digits.
    """
    try:
        return _DECODER.decode(raw.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_object(raw: bytes, readers: Mapping[str, ArrayReader]) -> Any:
    """Parse a long document as strictly as `loads`; return its value. Yields to other requests per `PIECE_BYTES`.

    An array that is a member of the document and has a reader in `readers` is passed to the reader as an iterator, so
    the parsed items need not be in memory together; the reader's result replaces it. Raises ValueError, also for more
    than `MAX_MEMBERS` members, `ValueTooLong`, and the exceptions of a reader.
    """
    document = _Document(raw)
    is_object = document.peek() == "{"
    value = _reject_duplicates([*document.members(readers)]) if is_object else document.parse_value()
    if document.peek():
        raise ValueError("more than one value")
    return value


class _Document:
    """A JSON document that is decoded piece by piece, and the place up to which it is parsed."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._decoded = 0
        """Bytes that are decoded."""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text, self._at = "", 0
        """The decoded characters that are not yet dropped, and how many of them are parsed."""

    def peek(self) -> str:
        """Skip whitespace and return the next character without consuming it; an empty string at the end.

        May decode a piece, and so yield to other requests; raises ValueError if that is not UTF-8.
        """
        while True:
            self._at = _WHITESPACE(self._text, self._at).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._decode_piece():
                return ""

    def parse_value(self) -> Any:
        """Parse and return the next value; decodes pieces, and so yields to other requests, until it is complete.

        Raises ValueError if it is malformed, and `ValueTooLong` if it is incomplete after `MAX_VALUE_CHARACTERS`.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            except ValueError as error:
                # Perhaps it ends in the next piece.
                is_long = len(self._text) - self._at > MAX_VALUE_CHARACTERS
                if is_long and _is_incomplete(error, len(self._text)):
                    raise ValueTooLong from None
                if is_long or not self._decode_piece():
                    raise
                continue
            if _REST_OF_NUMBER(self._text, end) and self._decode_piece():
                continue  # a number may go on in the next piece
            self._at = end
            return value

    def members(self, readers: Mapping[str, ArrayReader]) -> Iterator[tuple[str, Any]]:
        """Parse an object; yield (name, value) of each member.

        The value of an array whose name is in `readers` is the result of that reader. Raises ValueError, also for more
        than `MAX_MEMBERS`, and the exceptions of a reader.
        """
        for number in self._elements("{", "}"):
            if number == MAX_MEMBERS or self.peek() != '"':
                raise ValueError("too many members, or a member without a name")
            name = self.parse_value()
            self._skip(":")
            is_read = name in readers and self.peek() == "["
            yield name, readers[name](self._items()) if is_read else self.parse_value()

    def _items(self) -> Iterator[Any]:
        """Parse an array; yield its items one by one, each parsed when the caller asks for it. Raises ValueError."""
        for _ in self._elements("[", "]"):
            yield self.parse_value()

    def _elements(self, opening: str, closing: str) -> Iterator[int]:
        """Skip the brackets and commas of an object or an array; stop before each element and yield its number, from 0.

        The caller parses the element before it asks for the next one. Raises ValueError for a missing bracket or comma.
        """
        self._skip(opening)
        number = 0
        while number or self.peek() != closing:
            yield number
            number += 1
            if self.peek() == closing:
                break
            self._skip(",")
        self._skip(closing)

    def _skip(self, character: str) -> None:
        """Skip whitespace and this character; raise ValueError if another one comes next."""
        if self.peek() != character:
            raise ValueError(f"{character} is missing")
        self._at += 1

    def _decode_piece(self) -> bool:
        """Discard the parsed characters, decode the next piece, yield to other requests; return False at the end.

        Raises ValueError for bytes that are not UTF-8.
        """
        piece = self._raw[self._decoded : self._decoded + PIECE_BYTES]
        self._decoded += len(piece)
        decoded = self._decode(piece, self._decoded == len(self._raw))
        self._text, self._at = self._text[self._at :] + decoded, 0
        wait_for_turn()
        return bool(piece)


def _is_incomplete(error: ValueError, length: int) -> bool:
    """Return True if the parser stopped at the end of a text of this length, or in a string that does not end."""
    return isinstance(error, json.JSONDecodeError) and (
        error.pos >= length - LONGEST_TOKEN or error.msg.startswith("Unterminated string")
    )


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members as a dict; raise ValueError if a name occurs twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _reject_non_finite(text: str) -> float:
    """Return a number with a fraction or an exponent as a float; raise ValueError if it overflows to infinity."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _reject_constant(_name: str) -> None:
    """Raise ValueError for NaN, Infinity and -Infinity, which Python's parser accepts."""
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant, parse_float=_reject_non_finite
)

_REST_OF_NUMBER: Callable[[str, int], Any] = re.compile(r"[-+.0-9eE]*\Z").match

_WHITESPACE: Callable[[str, int], Any] = re.compile(r"[ \t\n\r]*").match
