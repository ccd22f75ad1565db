"""Schemas of what goes out, compiled: marshmallow's own `dump` asks each field of each row anew what it is to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import Schema, fields

from .fields.strict import StrictField

_PASSED_THROUGH = (fields.String, fields.Boolean)
"""The fields of marshmallow that a column of their type needs no conversion for."""


class CompiledSchema(Schema):
    """A shape whose `dump` makes, of a row that has its members as attributes, a dict for orjson.

    Dates and tuples are left to orjson, which writes them as `YYYY-MM-DD` and as arrays. A member that a row has not
    is an error; marshmallow's hooks and defaults are none of it. Raises `TypeError` when it is made with a field that
    does not say how its values go out.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._dump_one = _compiled(self.dump_fields)

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """A row, or rows if `many`, as the schema itself is unless it is given."""
        return [*map(self._dump_one, obj)] if (self.many if many is None else many) else self._dump_one(obj)


def _compiled(members: dict[str, fields.Field[Any]]) -> Callable[[Any], dict[str, Any]]:
    """One expression for a whole row, made as `namedtuple` makes its own: of the class, never of a value."""
    conversions: dict[str, Any] = {}
    items = []
    for name, field in members.items():
        value = f"row.{field.attribute or name}"
        conversion = _conversion(name, field)
        if conversion is not None:
            conversions[f"_{name}"] = conversion
            value = f"None if (value := {value}) is None else _{name}(value)"
        items.append(f"{field.data_key or name!r}: {value}")
    compiled: Callable[[Any], dict[str, Any]] = eval(f"lambda row: {{{', '.join(items)}}}", conversions)  # noqa: S307
    return compiled


def _conversion(name: str, field: fields.Field[Any]) -> Callable[[Any], Any] | None:
    if type(field) in _PASSED_THROUGH:
        return None
    if isinstance(field, StrictField) and type(field)._serialize is StrictField._serialize:  # noqa: SLF001
        return field.outgoing
    raise TypeError(f"{type(field).__name__} of {name!r} does not say how its values go out")
