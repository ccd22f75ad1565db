"""Strict fields for arrays and objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields

from ...concurrency.cooperative import yielding
from .scalars import Text
from .strict import MAX_VIOLATIONS, NOT_AN_OBJECT, StrictField, StrictSchema, Violation, refuse


class Tags(StrictField):
    """An array of up to `most` labels, each one line of 1 to `longest` code points, trimmed; unique without case."""

    def __init__(self, *, most: int, longest: int, **options: Any) -> None:
        self._most = most
        self._tag = Text(least=1, most=longest)
        shape = {"type": "array", "maxItems": most, "items": self._tag.metadata}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        """Return the labels, trimmed, as a tuple; reject the array with an error for each wrong or repeated label.

        Labels that differ only in case count as repeated.
        """
        if not isinstance(value, list):
            raise refuse("type", "Must be an array of strings.")
        if len(value) > self._most:
            raise refuse("length", f"Must have at most {self._most} tags.")
        tags: dict[str, str] = {}
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                tag = self._tag.deserialize(item)
            except ValidationError as error:
                errors[index] = error.messages
                continue
            if tag.casefold() in tags:
                errors[index] = [Violation("unique", "Is there already; case makes no difference.")]
            tags[tag.casefold()] = tag
        if errors:
            raise ValidationError(errors)
        return tuple(tags.values())


class Repeated(fields.List[Any]):
    """A query parameter that may be given up to `most` times."""

    def __init__(self, value: fields.Field[Any], *, most: int, metadata: Mapping[str, Any], **options: Any) -> None:
        self._most = most
        super().__init__(value, metadata={"maxItems": most, **metadata}, **options)

    def _deserialize(self, value: Any, *rest: Any, **options: Any) -> list[Any]:
        """Parse each value of a repeated query parameter; reject more than `most` values before any is parsed."""
        if len(value) > self._most:  # before the values are parsed
            raise refuse("length", f"May be given at most {self._most} times.")
        return super()._deserialize(value, *rest, **options)


class RawObject(StrictField):
    """A JSON object whose members another schema validates later."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "object"}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the object unchanged; reject anything but a JSON object."""
        if not isinstance(value, dict):
            raise ValidationError([NOT_AN_OBJECT])
        return value


class LoadedItems(NamedTuple):
    """The loaded items of an array, and the error if any was invalid."""

    items: list[Any]
    error: ValidationError | None
    is_too_long: bool = False
    """True if the array has more than the maximum of items, and was not read to its end."""


class Objects(StrictField):
    """An array of `least` to `most` objects, each loaded with `schema`."""

    def __init__(self, schema: type[StrictSchema], *, least: int, most: int, **options: Any) -> None:
        self.schema, self._least, self._most = schema(), least, most
        shape = {"type": "array", "minItems": least, "maxItems": most}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        """Return the loaded objects of an array; raise ValidationError if one is invalid or their number is wrong.

        `value` is the array, or the `LoadedItems` that `load_items` has made of it before.
        """
        if not isinstance(value, list | LoadedItems):
            raise refuse("type", "Must be an array.")
        loaded = value if isinstance(value, LoadedItems) else self.load_items(value)
        if loaded.error is not None:
            raise loaded.error
        return loaded.items

    def load_items(self, items: Iterable[Any]) -> LoadedItems:
        """Load each object with the schema; return the loaded ones, and the errors of the others by index.

        Reads up to one item more than `most`; after `MAX_VIOLATIONS` invalid ones only counts the rest. With fewer than
        `least` or more than `most` the result is one error and no items. Raises nothing for invalid items; exceptions
        of the iterator pass through. Yields to other requests.
        """
        errors: dict[int, Any] = {}
        loaded = []
        count = 0
        for index, item in yielding(enumerate(items), every=20):
            count += 1
            if count > self._most:
                break
            if len(errors) == MAX_VIOLATIONS:
                continue
            try:
                loaded.append(self._load(item))
            except ValidationError as error:
                errors[index] = error.messages
        if not self._least <= count <= self._most:
            wrong_length = refuse("length", f"Must have {self._least} to {self._most} items.")
            return LoadedItems([], wrong_length, count > self._most)
        return LoadedItems(loaded, ValidationError(errors) if errors else None)

    def _load(self, item: Any) -> Any:
        """Load one object with the schema; raise `ValidationError` for anything else."""
        if not isinstance(item, dict):
            raise ValidationError([NOT_AN_OBJECT])
        return self.schema.load(item)
