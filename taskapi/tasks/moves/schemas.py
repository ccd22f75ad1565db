"""Schema of the body of a move."""

from __future__ import annotations

from typing import Any

from marshmallow import validates_schema

from ...http.fields.scalars import PositiveInteger
from ...http.fields.strict import StrictSchema, refuse


class MoveIn(StrictSchema):
    """The neighbor that a task is put before or after: exactly one of the two; null means that end of the list."""

    before = PositiveInteger(
        allow_none=True, metadata={"description": "Put the task before this one; null: at the end."}
    )
    after = PositiveInteger(
        allow_none=True, metadata={"description": "Put the task after this one; null: at the start."}
    )

    @validates_schema
    def _require_one_member(self, data: dict[str, Any], **_: Any) -> None:
        """Reject a body with both members or none."""
        if len(data) != 1:
            raise refuse("conflict", "Give `before` or `after`, and not both.")


move_in = MoveIn()
