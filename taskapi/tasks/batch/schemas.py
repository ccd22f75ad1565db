"""Schema of the body of a batch: up to 100 operations, each with the members of its kind."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, post_load, validates_schema

from ...http.fields.collections import Objects, RawObject
from ...http.fields.scalars import Flag, OneOf, PositiveInteger
from ...http.fields.strict import StrictSchema, Violation, refuse
from ..schemas import task_in

MAX_OPERATIONS = 100
"""Maximum operations in one batch."""


class OperationIn(StrictSchema):
    """One operation of a batch. `version` corresponds to If-Match; `task` is loaded with `TaskIn`."""

    op = OneOf({name: name for name in ("create", "update", "complete", "delete", "restore", "move")}, required=True)
    id = PositiveInteger(metadata={"description": "The task; not with `create`."})
    version = PositiveInteger(metadata={"description": "The version it must have."})
    task = RawObject(metadata={"description": "With `create` and `update`: its members."})
    completed = Flag(metadata={"description": "With `complete`."})
    before = PositiveInteger(allow_none=True, metadata={"description": "With `move`; or `after`."})
    after = PositiveInteger(allow_none=True, metadata={"description": "With `move`; or `before`."})

    @validates_schema(skip_on_field_errors=True)
    def _check_members(self, data: dict[str, Any], **_: Any) -> None:
        """Reject missing members, members of other operations, and `move` with both or none of `before` and `after`."""
        required, optional = MEMBERS_OF_OPERATION[data["op"]]
        for member in required - data.keys():
            raise ValidationError({member: [Violation("required", f"Is required with `{data['op']}`.")]})
        for member in data.keys() - required - optional - {"op"}:
            raise ValidationError({member: [Violation("unknown", f"Does not go with `{data['op']}`.")]})
        if data["op"] == "move" and len(data.keys() & optional & {"before", "after"}) != 1:
            raise refuse("conflict", "Give `before` or `after`, and not both.")

    @post_load
    def _load_task(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Load `task`, if present, with `TaskIn`; for an `update` each of its members may be absent."""
        if "task" not in data:
            return data
        try:
            return {**data, "task": task_in.load(data["task"], partial=data["op"] == "update")}
        except ValidationError as error:
            raise ValidationError({"task": error.messages}) from error


MEMBERS_OF_OPERATION: dict[str, tuple[set[str], set[str]]] = {
    "create": ({"task"}, set()),
    "update": ({"id", "task"}, {"version"}),
    "complete": ({"id", "completed"}, {"version"}),
    "delete": ({"id"}, {"version"}),
    "restore": ({"id"}, {"version"}),
    "move": ({"id"}, {"version", "before", "after"}),
}
"""By operation: its required and its optional members."""


class BatchIn(StrictSchema):
    """The body of `POST /tasks/batch`."""

    operations = Objects(OperationIn, least=1, most=MAX_OPERATIONS, required=True)


batch_in = BatchIn()
