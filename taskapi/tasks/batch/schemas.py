"""Body of a batch."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, post_load, validates_schema

from ...http.fields.collections import Members, Objects
from ...http.fields.scalars import Choice, Flag, Integer
from ...http.fields.strict import StrictSchema, Violation, refuse
from ..schemas import task_in

MAX_OPERATIONS = 100


class OperationIn(StrictSchema):
    """One change of a batch; `version` is its If-Match."""

    op = Choice({name: name for name in ("create", "update", "complete", "delete", "restore", "move")}, required=True)
    id = Integer(metadata={"description": "The task; not with `create`."})
    version = Integer(metadata={"description": "The version it must have."})
    task = Members(metadata={"description": "With `create` and `update`: its members."})
    completed = Flag(metadata={"description": "With `complete`."})
    before = Integer(allow_none=True, metadata={"description": "With `move`; or `after`."})
    after = Integer(allow_none=True, metadata={"description": "With `move`; or `before`."})

    @validates_schema(skip_on_field_errors=True)
    def _of_its_kind(self, data: dict[str, Any], **_: Any) -> None:
        needed, further = MEMBERS_OF_OPERATION[data["op"]]
        for member in needed - data.keys():
            raise ValidationError({member: [Violation("required", f"Is required with `{data['op']}`.")]})
        for member in data.keys() - needed - further - {"op"}:
            raise ValidationError({member: [Violation("unknown", f"Does not go with `{data['op']}`.")]})
        if data["op"] == "move" and len(data.keys() & further & {"before", "after"}) != 1:
            raise refuse("conflict", "Give `before` or `after`, and not both.")

    @post_load
    def _with_task(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
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
"""By operation: what it needs, and what it may have."""


class BatchIn(StrictSchema):
    """Changes to be made together."""

    operations = Objects(OperationIn, least=1, most=MAX_OPERATIONS, required=True)


batch_in = BatchIn()
