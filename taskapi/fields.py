"""Strict fields: JSON types are taken as they are, and every refusal has a code and says how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load


class Violation(str):
    """What is wrong with one value: a sentence for people, and a `code` for programs. It never holds the value."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, code: str, detail: str) -> Violation:
        violation = super().__new__(cls, detail)
        violation.code = code
        return violation

    def __deepcopy__(self, _memo: object) -> Violation:
        return self  # immutable, as its text is


NOT_AN_OBJECT = Violation("type", "Must be a JSON object.")

_NAMEABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""An unknown member whose name may stand in the answer: a misspelling, not a payload."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_BREAKS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def violations(error: ValidationError) -> list[dict[str, str]]:
    """The `errors` of a problem document: a JSON Pointer (RFC 6901), a sentence and a code for each violation."""
    return [
        {"pointer": pointer, "detail": str(violation), "code": violation.code}
        for pointer, violation in _flatten(error.messages, "")
    ]


def _flatten(messages: Any, pointer: str) -> Iterable[tuple[str, Violation]]:
    if isinstance(messages, Violation):
        yield pointer, messages
    elif isinstance(messages, Mapping):
        for name, inner in messages.items():
            nameable = isinstance(name, int) or (name != "_schema" and _NAMEABLE.fullmatch(name))
            yield from _flatten(inner, f"{pointer}/{name}" if nameable else pointer)
    else:
        for inner in messages:
            yield from _flatten(inner, pointer)


class StrictSchema(Schema):
    """Knows its members and refuses all others, but passes over the `ignored` ones: GET, edit, PUT works."""

    ignored: ClassVar[Set[str]] = frozenset()

    error_messages = {
        "type": NOT_AN_OBJECT,
        "unknown": Violation("unknown", "Is not known here. Remove it, or mend its spelling."),
    }

    class Meta:
        unknown = RAISE

    @pre_load
    def _pass_over(self, data: Any, **_: Any) -> Any:
        return {name: value for name, value in data.items() if name not in self.ignored}


class StrictField(fields.Field[Any]):
    """A field that refuses in `violations`' words."""

    violations: ClassVar[dict[str, Violation]] = {
        "required": Violation("required", "Is required."),
        "null": Violation("null", "Must not be null."),
    }

    def make_error(self, key: str, **_: Any) -> ValidationError:
        return ValidationError([self.violations[key]])


def refuse(code: str, detail: str) -> ValidationError:
    """An error to raise from a field or a schema."""
    return ValidationError([Violation(code, detail)])


class Text(StrictField):
    """A string of `least` to `most` code points without control characters; line breaks and tabs if `multiline`.

    One-line text is trimmed first; multi-line text is kept as it came.
    """

    def __init__(self, *, least: int = 0, most: int, multiline: bool = False, **options: Any) -> None:
        self._least, self._most, self._multiline = least, most, multiline
        self._forbidden = _CONTROL_BUT_BREAKS if multiline else _CONTROL
        shape: dict[str, Any] = {"type": "string", "maxLength": most}
        controls = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f" if multiline else r"\u0000-\u001f\u007f-\u009f"
        allowed, visible = f"[^{controls}]", rf"[^\s{controls}]"
        if least:
            shape["minLength"] = least
        shape["pattern"] = f"^{allowed}*{visible}{allowed}*$" if least else f"^{allowed}*$"
        super().__init__(metadata={**shape, **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise refuse("type", "Must be a string.")
        text: str = value if self._multiline else value.strip()
        if self._forbidden.search(value):
            allowed = " other than \\n and \\t" if self._multiline else ""
            raise refuse("characters", f"Must not contain control characters{allowed}, nor half a surrogate pair.")
        if not self._least <= len(text) <= self._most:
            around = "" if self._multiline else ", spaces around it not counted"
            raise refuse("length", f"Must have {self._least} to {self._most} characters{around}.")
        return text


class Flag(StrictField):
    """JSON `true` or `false`: neither "yes" nor 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": "boolean", **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse("type", "Must be true or false.")
        return value


class Integer(StrictField):
    """An integer that goes out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": "integer", "minimum": 1, **options.pop("metadata", {})}, **options)


class Timestamp(StrictField):
    """A time that goes out: RFC 3339 in UTC with milliseconds, as JavaScript's `toISOString` writes it."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00.000Z"]}
        super().__init__(metadata={**shape, **options.pop("metadata", {})}, **options)

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class Choice(StrictField):
    """One of some words, mapped to what it means."""

    def __init__(self, words: Mapping[str, Any], **options: Any) -> None:
        self._words = words
        super().__init__(metadata={"type": "string", "enum": list(words), **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str) or value not in self._words:
            raise refuse("choice", f"Must be one of {', '.join(self._words)}.")
        return self._words[value]


class Count(StrictField):
    """A decimal number in a query string, `least` to `most`."""

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        self._least, self._most = least, most
        shape = {"type": "integer", "minimum": least, "maximum": most}
        super().__init__(metadata={**shape, **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not self._least <= int(value) <= self._most:
            raise refuse("range", f"Must be a whole number from {self._least} to {self._most}.")
        return int(value)
