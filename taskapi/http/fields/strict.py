"""Strict schemas, the base of strict fields, and violations: a code and a sentence for each rejected value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import islice
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

MAX_VIOLATIONS = 100
"""How many violations a response names: a body of 1 MiB may have 150,000, and each takes time and 100 bytes."""

MAX_MEMBERS = 100
"""How many members an object may have to be looked at; no shape has more than 30."""


def violations(error: ValidationError) -> list[dict[str, str]]:
    """The `errors` of a problem document: a JSON Pointer (RFC 6901), a sentence and a code for each violation.

    At most `MAX_VIOLATIONS` of them, in the order of the document.
    """
    return [
        {"pointer": pointer, "detail": str(violation), "code": violation.code}
        for pointer, violation in islice(_flatten(error.messages, ""), MAX_VIOLATIONS)
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
        if len(data) > MAX_MEMBERS:
            raise refuse("length", f"Must have at most {MAX_MEMBERS} members.")
        return {name: value for name, value in data.items() if name not in self.ignored}


class StrictField(fields.Field[Any]):
    """A field of a JSON Schema shape that refuses in `violations`' words.

    `outgoing` makes of a value, never None, what goes out; without it a value goes out as it is.
    """

    violations: ClassVar[dict[str, Violation]] = {
        "required": Violation("required", "Is required."),
        "null": Violation("null", "Must not be null."),
    }

    outgoing: Callable[[Any], Any] | None = None

    def __init__(self, shape: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(metadata={**shape, **(metadata or {})}, **options)

    def make_error(self, key: str, **_: Any) -> ValidationError:
        return ValidationError([self.violations[key]])

    def _serialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return value if value is None or self.outgoing is None else self.outgoing(value)


def refuse(code: str, detail: str) -> ValidationError:
    """An error to raise from a field or a schema."""
    return ValidationError([Violation(code, detail)])
