"""Strict fields for text, numbers, booleans and choices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .invisible import PATTERN_CLASS, is_blank
from .strict import StrictField, refuse

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_CONTROL_BUT_BREAKS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

MAX_INTEGER = 10**18 - 1
"""Maximum integer: 18 digits fit into a bigint."""


class Text(StrictField):
    """A string of `least` to `most` code points without control characters; line breaks and tabs if `multiline`.

    One-line text is trimmed, after the check for control characters. Of multi-line text only the line endings change:
    CRLF and CR become LF before the length is counted. If `least` is not 0 one character must be visible.
    """

    def __init__(self, *, least: int = 0, most: int, multiline: bool = False, **options: Any) -> None:
        self._least, self._most, self._multiline = least, most, multiline
        self._forbidden = _CONTROL_BUT_BREAKS if multiline else _CONTROL
        shape: dict[str, Any] = {"type": "string", "maxLength": most}
        below = r"\u0000-\u0008\u000b\u000c\u000e-\u001f" if multiline else r"\u0000-\u001f"
        controls = rf"{below}\u007f-\u009f"
        allowed, visible = f"[^{controls}]", rf"[^\s{controls}{PATTERN_CLASS}]"
        if least:
            shape["minLength"] = least
        shape["pattern"] = f"^{allowed}*{visible}{allowed}*$" if least else f"^{allowed}*$"
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        """Return the string: one-line text trimmed, multi-line text untrimmed, with LF as its only line ending.

        Rejects another type, control characters (before the trim: one-line text must not end with a line break), a
        wrong length, and, if `least` is not 0, text without a visible character.
        """
        if not isinstance(value, str):
            raise refuse("type", "Must be a string.")
        if self._multiline and "\r" in value:
            # Windows, HTML forms and iCalendar send CRLF. With one form, equal texts are equal: a repeated write has no
            # effect.
            value = value.replace("\r\n", "\n").replace("\r", "\n")
        text: str = value if self._multiline else value.strip()
        if self._forbidden.search(value):
            allowed = " other than \\n and \\t" if self._multiline else ""
            raise refuse("characters", f"Must not contain control characters{allowed}, nor half a surrogate pair.")
        if not self._least <= len(text) <= self._most:
            around = "" if self._multiline else ", spaces around it not counted"
            raise refuse("length", f"Must have {self._least} to {self._most} characters{around}.")
        if self._least and is_blank(text):
            raise refuse("length", "Must have a character that is visible.")
        return text


class Flag(StrictField):
    """JSON `true` or `false`; "yes" and 1 are rejected."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "boolean"}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        """Return a JSON boolean; reject anything else."""
        if not isinstance(value, bool):
            raise refuse("type", "Must be true or false.")
        return value


class PositiveInteger(StrictField):
    """A positive whole number, such as an id or a version; "5" and 5.0 are rejected."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        """Return a JSON integer from 1 to `MAX_INTEGER`; reject strings, floats and booleans."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse("type", "Must be a whole number.")
        if not 1 <= value <= MAX_INTEGER:
            raise refuse("range", "Must be 1 or more, and have at most 18 digits.")
        return value


class OneOf(StrictField):
    """One of the strings in `words`, which maps them to their values in Python."""

    def __init__(self, words: Mapping[str, Any], **options: Any) -> None:
        self._words = words
        # In JSON Schema `enum` must contain null, too, even if `type` allows it.
        values = [*words, *([None] if options.get("allow_none") else [])]
        super().__init__({"type": "string", "enum": values}, **options)
        # If several words have the same value, output the first.
        self.to_json = {value: word for word, value in reversed([*words.items()])}.__getitem__

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        """Return the value that the string stands for; reject anything that is not in `words`."""
        if not isinstance(value, str) or value not in self._words:
            raise refuse("choice", f"Must be one of {', '.join(self._words)}.")
        return self._words[value]


class QueryInteger(StrictField):
    """A decimal number in a query string, `least` to `most`."""

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        self._least, self._most = least, most
        shape = {"type": "integer", "minimum": least, "maximum": most}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        """Return a decimal number of up to nine digits as an int; reject other text and a number out of the bounds."""
        if not re.fullmatch(r"[0-9]{1,9}", value) or not self._least <= int(value) <= self._most:
            raise refuse("range", f"Must be a whole number from {self._least} to {self._most}.")
        return int(value)


class Several(StrictField):
    """Comma-separated strings in a query parameter, each one of `words`, which maps them to their values in Python."""

    def __init__(self, words: Mapping[str, Any], **options: Any) -> None:
        self._words = words
        alternatives = "|".join(words)
        shape = {"type": "string", "pattern": f"^({alternatives})(,({alternatives}))*$"}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> frozenset[Any]:
        """Return the set of values that the comma-separated strings stand for; reject all if one is not in `words`."""
        words = value.split(",")
        if not all(word in self._words for word in words):
            raise refuse("choice", f"Must be some of {', '.join(self._words)}, separated by commas.")
        return frozenset(self._words[word] for word in words)


class Number(StrictField):
    """A non-negative integer, output only."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "integer", "minimum": 0}, **options)
