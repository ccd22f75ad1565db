"""Strict schemas, the base of strict fields, and violations: a code and a sentence for each rejected value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, missing, post_load, pre_load


class Violation(str):
    """The message of a validation error, for people, with a `code` for programs. It never contains the value."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, code: str, detail: str) -> Violation:
        violation = super().__new__(cls, detail)
        violation.code = code
        return violation

    def __deepcopy__(self, _memo: object) -> Violation:
        return self  # immutable, as its text is


NOT_AN_OBJECT = Violation("type", "Must be a JSON object.")

_UNKNOWN = Violation("unknown", "Is not known here. Remove it, or correct its spelling.")
_UNNAMED = Violation("unknown", "Contains a name that is not known here. Remove it, or correct its spelling.")
"""The violation of an unknown member, and of the object around it if a response must not repeat its name."""

_NAMEABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Names of unknown members that a response may contain: misspellings, not payloads."""

_INDEX = re.compile(r"/([0-9]+)")

MAX_VIOLATIONS = 100
"""Maximum violations in a response: a body of 1 MiB may have 150,000, and each takes time and 100 bytes."""

MAX_DESCRIBED = 10
"""Maximum violations in the text of `describe`."""

MAX_MEMBERS = 100
"""Maximum members of an object; one with more is rejected as a whole. No schema has more than 30."""


def violations(error: ValidationError) -> list[dict[str, str]]:
    """Return the `errors` member of a problem document: pointer (RFC 6901), detail and code of each violation.

    Returns at most `MAX_VIOLATIONS`, in the order of the validated document.
    """
    return [
        {"pointer": pointer, "detail": str(violation), "code": violation.code}
        for pointer, violation in islice(_flatten(error.messages, ""), MAX_VIOLATIONS)
    ]


def describe(violations: Sequence[Mapping[str, str]], whole: str) -> str:
    """Return one text about what `violations` returned, for clients that show the `detail` of a problem only.

    Each violation is named as in JavaScript, `tasks[3].title: Is required.`, or by `whole` for an empty pointer. After
    `MAX_DESCRIBED` of them the text says how many more there are: at least so many, if there are `MAX_VIOLATIONS`.
    """
    sentences = [f"{_name(each['pointer']) or whole}: {each['detail']}" for each in violations[:MAX_DESCRIBED]]
    if (more := len(violations) - MAX_DESCRIBED) > 0:
        at_least = "at least " if len(violations) == MAX_VIOLATIONS else ""
        sentences.append(f"And {at_least}{more} more.")
    return " ".join(sentences)


def _name(pointer: str) -> str:
    """Return a JSON Pointer in the notation of JavaScript (`/tasks/3/title` -> `tasks[3].title`); empty for empty."""
    return _INDEX.sub(r"[\1]", pointer).replace("/", ".").removeprefix(".")


def _flatten(messages: Any, pointer: str) -> Iterable[tuple[str, Violation]]:
    """Yield the violations in nested messages of marshmallow, with their JSON Pointers below `pointer`.

    A violation of a whole object (`_schema`) gets the pointer of the object; so does one of a member whose name a
    response must not repeat (not `_NAMEABLE`), and an unknown one gets the text `_UNNAMED`.
    """
    if isinstance(messages, Violation):
        yield pointer, messages
    elif isinstance(messages, Mapping):
        for name, inner in messages.items():
            if isinstance(name, int) or (name != "_schema" and _NAMEABLE.fullmatch(name)):
                yield from _flatten(inner, f"{pointer}/{name}")
            else:
                found = _flatten(inner, pointer)
                yield from ((at, _UNNAMED if violation is _UNKNOWN else violation) for at, violation in found)
    else:
        for inner in messages:
            yield from _flatten(inner, pointer)


class StrictSchema(Schema):
    """A schema that rejects unknown members, except those in `ignored`, so that a client can PUT what it got by GET.

    `null_values` are the values that null stands for, by member, if not None.
    """

    ignored: ClassVar[Set[str]] = frozenset()
    null_values: ClassVar[Mapping[str, Any]] = {}

    error_messages = {
        "type": NOT_AN_OBJECT,
        "unknown": _UNKNOWN,
    }

    class Meta:
        unknown = RAISE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        names = {name: field.data_key or name for name, field in self.load_fields.items()}
        self._by_key = {names[name]: (field.attribute or name, field) for name, field in self.load_fields.items()}
        self._required = frozenset(names[name] for name, field in self.load_fields.items() if field.required)
        has_defaults = any(field.load_default is not missing for field in self.load_fields.values())
        hooks = sum(map(len, type(self).resolve_hooks().values()))
        own_hooks = sum(map(len, StrictSchema.resolve_hooks().values()))
        self._is_simple = hooks == own_hooks and not has_defaults and not self.many

    def load(self, data: Any, *, many: bool | None = None, partial: Any = None, **options: Any) -> Any:
        """Return the loaded members of an object, or raise ValidationError, as marshmallow does.

        A valid object of a schema without hooks and defaults takes a single pass, a third of the bytecodes. Anything
        else, and each error, is left to marshmallow.
        """
        if self._is_simple and not many and not options and isinstance(data, dict) and len(data) <= MAX_MEMBERS:
            loaded = self._load_valid(data)
            if loaded is not None and (partial is True or data.keys() >= self._required):
                return loaded
        return super().load(data, many=many, partial=partial, **options)

    def _load_valid(self, data: dict[str, Any]) -> dict[str, Any] | None:
        """Load the members of an object that are not ignored; return None if one of them is unknown or invalid.

        Does not check that required members are there.
        """
        by_key, ignored, null_values = self._by_key, self.ignored, self.null_values
        loaded = {}
        try:
            for key, value in data.items():
                if key not in ignored:
                    name, field = by_key[key]
                    result = field.deserialize(value, key, data)
                    loaded[name] = null_values.get(name) if result is None else result
        except (KeyError, ValidationError):
            return None
        return loaded

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Reorder the messages of `error` in place: those about unknown members come last, in the order of `data`.

        marshmallow, which calls this before it raises, collects unknown names in a set, whose order differs by process.
        """
        if isinstance(error.messages, dict) and isinstance(data, dict):
            order = {name: number for number, name in enumerate(data) if name not in self._by_key}
            error.messages = dict(sorted(error.messages.items(), key=lambda item: order.get(item[0], -1)))

    @pre_load
    def _remove_ignored(self, data: Any, **_: Any) -> Any:
        """Return `data` without the members in `ignored`; ValidationError if it has more than `MAX_MEMBERS` with them.

        `data` must be a dict; each caller of `load` checks that.
        """
        if len(data) > MAX_MEMBERS:
            raise refuse("length", f"Must have at most {MAX_MEMBERS} members.")
        return {name: value for name, value in data.items() if name not in self.ignored}

    @post_load
    def _apply_null_values(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Return the members with each None replaced by its entry in `null_values`; without one it stays None."""
        return {name: self.null_values.get(name) if value is None else value for name, value in data.items()}


class StrictField(fields.Field[Any]):
    """Base of the fields: `shape` is its JSON Schema, and `violations` has the messages of the standard errors.

    `to_json` converts a value that is not None to JSON; if it is None the value is not converted.
    """

    violations: ClassVar[dict[str, Violation]] = {
        "required": Violation("required", "Is required."),
        "null": Violation("null", "Must not be null."),
    }

    to_json: Callable[[Any], Any] | None = None

    def __init__(self, shape: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(metadata={**shape, **(metadata or {})}, **options)
        self._has_functions = bool(self.validators or self.pre_load or self.post_load)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **options: Any) -> Any:
        """Return the parsed value of a member, or raise ValidationError, as marshmallow does.

        Skips marshmallow's steps for a value that is present and not null, unless the field has validators or hooks.
        """
        if value is None or value is missing or self._has_functions:
            return super().deserialize(value, attr, data, **options)
        return self._deserialize(value, attr, data, **options)

    def make_error(self, key: str, **_: Any) -> ValidationError:
        """Return a `ValidationError` with `violations[key]`, for marshmallow's own errors; KeyError for another key."""
        return ValidationError([self.violations[key]])

    def _serialize(self, value: Any, *_: Any, **__: Any) -> Any:
        """Convert a value for output with `to_json`; None, or any value without `to_json`, is returned unchanged."""
        return value if value is None or self.to_json is None else self.to_json(value)


def refuse(code: str, detail: str) -> ValidationError:
    """Return, not raise, a `ValidationError` with one violation, for a field or a schema to raise."""
    return ValidationError([Violation(code, detail)])
