"""Schemas of the export's query string, and of the body and the result of an import."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from ...concurrency.cooperative import yielding
from ...http.fields.collections import Objects
from ...http.fields.scalars import Number, OneOf, PositiveInteger, Text
from ...http.fields.strict import StrictField, StrictSchema, Violation, refuse
from ...http.fields.time import RequestTimestamp
from ..schemas import TaskIn

MAX_IMPORTED = 10_000
"""Maximum number of tasks in one import."""


COMPARED_AT_A_TIME = 2_000
"""Tasks whose ids are compared before other requests run: about 1 ms."""


MAX_USER_ID = 255
"""Maximum characters of a user id (the subject of a token)."""


class UserId(StrictField):
    """The owner of an exported task: any string, compared with the importing user's id."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "maxLength": MAX_USER_ID}, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        """Return the string unchanged; reject another type, and one longer than `MAX_USER_ID`."""
        if not isinstance(value, str) or len(value) > MAX_USER_ID:
            raise refuse("type", f"Must be a string of at most {MAX_USER_ID} characters.")
        return value


class ImportedTask(TaskIn):
    """A task of an exported document; only the title is required."""

    user_id = UserId(allow_none=True)
    id = PositiveInteger()
    completed_at = RequestTimestamp(allow_none=True)
    created_at = RequestTimestamp()
    updated_at = RequestTimestamp()
    deleted_at = RequestTimestamp(allow_none=True)
    position = Text(most=200)
    series_id = PositiveInteger(allow_none=True)
    occurrence = PositiveInteger(allow_none=True)
    next_task_id = PositiveInteger(allow_none=True)

    ignored = frozenset({"version", "due_at"})


class ImportIn(StrictSchema):
    """The body of `POST /import`: the document of a JSON export."""

    format = OneOf({"taskapi": "taskapi"})
    tasks = Objects(ImportedTask, least=0, most=MAX_IMPORTED, required=True)

    @validates_schema(skip_on_field_errors=True)
    def _check_unique_tasks(self, data: dict[str, Any], **_: Any) -> None:
        """Reject a task that has the same `user_id`, `id` and `created_at` as an earlier one; yields to other requests.

        Tasks without an id are never equal: the negative index of each stands for its id.
        """
        seen = set()
        for index, task in yielding(enumerate(data["tasks"]), every=COMPARED_AT_A_TIME):
            identity = (task.get("user_id"), task.get("id", -index), task.get("created_at"))
            if identity in seen:
                raise ValidationError({"tasks": {index: {"id": [Violation("unique", "Is there already.")]}}})
            seen.add(identity)


class ExportQuery(StrictSchema):
    """The query string of `GET /export`."""

    format = OneOf({name: name for name in ("json", "csv", "ics")}, load_default="json")


class RenumberedOut(Schema):
    """A task that did not keep its number."""

    from_ = PositiveInteger(
        required=True, data_key="from", metadata={"description": "The `id` of the task in the file."}
    )
    to = PositiveInteger(required=True, metadata={"description": "Its `id` now."})


class DroppedOut(Schema):
    """A kind of content of a file that an import does not keep."""

    name = fields.String(required=True, metadata={"description": "The property, the component or the column."})
    detail = fields.String(required=True)
    count = PositiveInteger(required=True)
    lines = fields.List(
        PositiveInteger(),
        required=True,
        metadata={"description": "The first lines of the file that have it, up to 20."},
    )


class ImportOut(Schema):
    """The numbers of created, updated and unchanged tasks; described in OpenAPI, not used to dump."""

    created = Number(required=True)
    updated = Number(required=True)
    unchanged = Number(required=True)
    renumbered = fields.List(
        fields.Nested(RenumberedOut),
        required=True,
        metadata={"description": "The created tasks whose number was taken, in the order of the file."},
    )
    dropped = fields.List(
        fields.Nested(DroppedOut),
        required=True,
        metadata={"description": "What was not kept of a CSV or iCalendar file; empty for JSON."},
    )


import_in = ImportIn()
imported_task = ImportedTask()
imported_tasks = Objects(ImportedTask, least=0, most=MAX_IMPORTED)
export_query = ExportQuery()
