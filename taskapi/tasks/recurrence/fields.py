"""The marshmallow field of a recurrence rule."""

from __future__ import annotations

from typing import Any

from ...http.fields.strict import StrictField, refuse
from . import rrule


class Recurrence(StrictField):
    """A recurrence rule (RFC 5545, section 3.3.10) of the supported subset (`rrule.normalize`), in normal form."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "maxLength": rrule.MAX_RULE, "examples": ["FREQ=WEEKLY;BYDAY=MO,TH"]}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        """Return the rule in normal form (`rrule.normalize`).

        Raises ValidationError for a value of another type, for more than `MAX_RULE` characters, and for a rule that is
        invalid or not supported.
        """
        if not isinstance(value, str) or len(value) > rrule.MAX_RULE:
            raise refuse("type", f"Must be a string of at most {rrule.MAX_RULE} characters.")
        return rrule.normalize(value)
