"""Strict fields: JSON types are taken as they are, and every refusal has a code and says how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, date, datetime
from functools import cache
from itertools import islice
from typing import Any, ClassVar
from zoneinfo import available_timezones

import orjson
from marshmallow import RAISE, Schema, ValidationError, fields, pre_load

from .cooperative import yielding


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

MAX_INTEGER = 10**18 - 1
"""What fits into a bigint of any database."""

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
"""The days a task may be due on: every instant of them exists in every zone and in every database."""


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
        super().__init__(shape, **options)

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
        super().__init__({"type": "boolean"}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse("type", "Must be true or false.")
        return value


class Integer(StrictField):
    """A whole number from 1 on, as ids and versions are: neither "5" nor 5.0."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse("type", "Must be a whole number.")
        if not 1 <= value <= MAX_INTEGER:
            raise refuse("range", "Must be 1 or more, and have at most 18 digits.")
        return value


def rfc3339(moment: datetime) -> str:
    """An aware time in UTC with milliseconds, cut off and not rounded, as JavaScript's `toISOString` writes it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # orjson writes a time in a third of what `isoformat` takes, in quotes: with six digits of a second, or with none.
    if moment.microsecond:
        return orjson.dumps(moment)[1:24].decode() + "Z"
    return orjson.dumps(moment)[1:20].decode() + ".000Z"


class Timestamp(StrictField):
    """A time that goes out, as `rfc3339` writes it."""

    outgoing = staticmethod(rfc3339)

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00.000Z"]}
        super().__init__(shape, **options)


class Choice(StrictField):
    """One of some words, mapped to what it means."""

    def __init__(self, words: Mapping[str, Any], **options: Any) -> None:
        self._words = words
        # In JSON Schema null must stand among the values, whatever the type allows.
        values = [*words, *([None] if options.get("allow_none") else [])]
        super().__init__({"type": "string", "enum": values}, **options)
        # Of several words for one meaning, the first.
        self.outgoing = {meaning: word for word, meaning in reversed([*words.items()])}.__getitem__

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, str) or value not in self._words:
            raise refuse("choice", f"Must be one of {', '.join(self._words)}.")
        return self._words[value]


class Count(StrictField):
    """A decimal number in a query string, `least` to `most`."""

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        self._least, self._most = least, most
        shape = {"type": "integer", "minimum": least, "maximum": most}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not self._least <= int(value) <= self._most:
            raise refuse("range", f"Must be a whole number from {self._least} to {self._most}.")
        return int(value)


class Day(StrictField):
    """A calendar date, `YYYY-MM-DD`, never an instant: it is the same day wherever it is read."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "format": "date", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            raise refuse("type", "Must be a date such as 2026-02-28.")
        try:
            day = date.fromisoformat(value)
        except ValueError as error:
            raise refuse("range", "Must be a day that the calendar has.") from error
        if not FIRST_DAY <= day <= LAST_DAY:
            raise refuse("range", f"Must lie from {FIRST_DAY} to {LAST_DAY}.")
        return day


class WallTime(StrictField):
    """A time of day on the wall, `HH:MM`, kept as text: it sorts as it reads."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["09:30"]}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
            raise refuse("type", "Must be a time such as 09:30, from 00:00 to 23:59.")
        return value


class TimeZone(StrictField):
    """A time zone by its IANA name."""

    def __init__(self, **options: Any) -> None:
        shape = {
            "type": "string",
            "maxLength": 64,
            "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$",
            "examples": ["Europe/Berlin"],
        }
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or value not in _zones():
            raise refuse("time_zone", "Must be the IANA name of a time zone, such as Europe/Berlin or UTC.")
        return value


@cache
def _zones() -> frozenset[str]:
    # Two files beside the zones are none: the clock of whichever machine answers, and "not configured".
    return frozenset(available_timezones() - {"localtime", "Factory"})


class Tags(StrictField):
    """Up to `most` labels, each a line of 1 to `longest` code points, trimmed; no two alike but for case."""

    def __init__(self, *, most: int, longest: int, **options: Any) -> None:
        self._most = most
        self._tag = Text(least=1, most=longest)
        shape = {"type": "array", "maxItems": most, "items": self._tag.metadata}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise refuse("type", "Must be an array of strings.")
        if len(value) > self._most:
            raise refuse("length", f"Must have at most {self._most} tags.")
        tags: dict[str, str] = {}
        wrong: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                tag = self._tag.deserialize(item)
            except ValidationError as error:
                wrong[index] = error.messages
                continue
            if tag.casefold() in tags:
                wrong[index] = [Violation("unique", "Is there already; case makes no difference.")]
            tags[tag.casefold()] = tag
        if wrong:
            raise ValidationError(wrong)
        return tuple(tags.values())


class Several(StrictField):
    """Some of a list of words, separated by commas, in a query string."""

    def __init__(self, words: Mapping[str, Any], **options: Any) -> None:
        self._words = words
        some = "|".join(words)
        shape = {"type": "string", "pattern": f"^({some})(,({some}))*$"}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> frozenset[Any]:
        words = value.split(",")
        if not all(word in self._words for word in words):
            raise refuse("choice", f"Must be some of {', '.join(self._words)}, separated by commas.")
        return frozenset(self._words[word] for word in words)


class Repeated(fields.List[Any]):
    """A query parameter that may be given up to `most` times."""

    def __init__(self, value: fields.Field[Any], *, most: int, metadata: Mapping[str, Any], **options: Any) -> None:
        self._most = most
        super().__init__(value, metadata={"maxItems": most, **metadata}, **options)

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> list[Any]:
        if len(value) > self._most:  # before any of them is looked at
            raise refuse("length", f"May be given at most {self._most} times.")
        return super()._deserialize(value, *rest, **options)


class Instant(Timestamp):
    """A time that comes back in, as it went out."""

    def __init__(self, **options: Any) -> None:
        shape = {"pattern": r"^[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}(\.[0-9]{1,6})?Z$"}
        super().__init__(metadata={**shape, **options.pop("metadata", {})}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}(\.[0-9]{1,6})?Z", value):
            raise refuse("type", "Must be a time such as 2026-11-21T09:30:00.000Z.")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise refuse("range", "Must be a time that the clock has.") from error
        if not FIRST_DAY <= moment.date() <= LAST_DAY:
            raise refuse("range", f"Must lie from {FIRST_DAY} to {LAST_DAY}.")
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Number(StrictField):
    """A count that goes out."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "integer", "minimum": 0}, **options)


class Members(StrictField):
    """A JSON object, looked into elsewhere."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "object"}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError([NOT_AN_OBJECT])
        return value


class Objects(StrictField):
    """An array of `least` to `most` objects, each as a schema has it."""

    def __init__(self, schema: type[StrictSchema], *, least: int, most: int, **options: Any) -> None:
        self.schema, self._least, self._most = schema(), least, most
        shape = {"type": "array", "minItems": least, "maxItems": most}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise refuse("type", "Must be an array.")
        if not self._least <= len(value) <= self._most:
            raise refuse("length", f"Must have {self._least} to {self._most} items.")
        wrong: dict[int, Any] = {}
        items = []
        for index, item in yielding(enumerate(value), every=20):
            if len(wrong) == MAX_VIOLATIONS:
                break
            if not isinstance(item, dict):
                wrong[index] = [NOT_AN_OBJECT]
                continue
            try:
                items.append(self.schema.load(item))
            except ValidationError as error:
                wrong[index] = error.messages
        if wrong:
            raise ValidationError(wrong)
        return items
