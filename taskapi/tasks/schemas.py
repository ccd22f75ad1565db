"""What comes in and what goes out: the one source of the shape of a task."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load, validates_schema

from ..fields import Choice, Count, Flag, Integer, StrictSchema, Text, Timestamp, refuse
from .selection import SORTS, Selection, fold

MAX_TITLE = 200
MAX_DESCRIPTION = 10_000
MAX_PAGE = 1000
MAX_QUERY = 200
MAX_CURSOR = 2000
"""A walk by title has the folded title inside: about 1,100 at most, whatever two hundred characters fold to."""


class TaskOut(Schema):
    """A task as it is answered; every member is always there."""

    id = Integer(required=True, metadata={"description": "From the user's own counter: 1, 2, 3…, never reused."})
    user_id = fields.String(required=True, metadata={"description": "The subject of the token.", "maxLength": 255})
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    completed = fields.Boolean(required=True)
    completed_at = Timestamp(required=True, allow_none=True)
    version = Integer(
        required=True,
        attribute="revision",
        metadata={"description": "The user's revision at the last change; the ETag in quotes."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class TaskIn(StrictSchema):
    """A task as it is sent. A member that is not sent keeps its value; null clears it."""

    title = Text(required=True, least=1, most=MAX_TITLE)
    description = Text(most=MAX_DESCRIPTION, multiline=True, allow_none=True)
    completed = Flag()

    ignored = frozenset(TaskOut().fields) - {"title", "description", "completed"}


class CompletionIn(StrictSchema):
    """What completion is set to; empty to flip it."""

    completed = Flag()


class NoParameters(StrictSchema):
    """The query string of everything but the list: none."""


class ListQuery(StrictSchema):
    """The query string of the list."""

    limit = Count(least=1, most=MAX_PAGE, load_default=MAX_PAGE)
    cursor = Text(most=MAX_CURSOR, metadata={"description": "From the `next` link of the page before."})
    sort = Choice(SORTS, load_default="-created_at", metadata={"description": "`-` reverses."})
    status = Choice({"all": None, "pending": False, "completed": True})
    completed = Choice({"true": True, "false": False})
    q = Text(most=MAX_QUERY, metadata={"description": "In title or description; case and accents are folded."})
    include = Choice({"total": True}, metadata={"description": "`total` adds `X-Total-Count`."})

    @validates_schema
    def _one_of_status_and_completed(self, data: dict[str, Any], **_: Any) -> None:
        if "status" in data and "completed" in data:
            raise refuse("conflict", "Give `status` or `completed`, not both.")

    @post_load
    def _selection(self, data: dict[str, Any], **_: Any) -> Selection:
        return Selection(
            limit=data["limit"],
            sort=data["sort"],
            completed=data.get("status", data.get("completed")),
            q=fold(data["q"]) if "q" in data else None,
            cursor=data.get("cursor"),
            with_total="include" in data,
        )


task_in, task_out, tasks_out = TaskIn(), TaskOut(), TaskOut(many=True)
completion_in, no_parameters, list_query = CompletionIn(), NoParameters(), ListQuery()
