"""Schemas of a task, its completion and empty requests: the fields and limits that the rooms share."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load

from ..http.fields.collections import Tags
from ..http.fields.scalars import Choice, Flag, Integer, Text
from ..http.fields.strict import StrictSchema
from ..http.fields.time import Day, Timestamp, TimeZone, WallTime
from ..http.serialization import CompiledSchema
from .members import PRIORITIES, REPEAT_FROM
from .recurrence.fields import Recurrence

MAX_TITLE = 200


MAX_DESCRIPTION = 10_000


MAX_TAGS = 20


MAX_TAG = 50


MAX_PAGE = 1000


MAX_CURSOR = 2000
"""A walk by title has the folded title inside: about 1,100 at most, whatever two hundred characters fold to."""


class TaskOut(CompiledSchema):
    """A task as it is answered; every member is always there."""

    id = Integer(required=True, metadata={"description": "From the user's own counter: 1, 2, 3…, never reused."})
    user_id = fields.String(required=True, metadata={"description": "The subject of the token.", "maxLength": 255})
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    completed = fields.Boolean(required=True)
    completed_at = Timestamp(required=True, allow_none=True)
    priority = Choice(PRIORITIES, required=True)
    tags = Tags(most=MAX_TAGS, longest=MAX_TAG, required=True)
    due_date = Day(required=True, allow_none=True, metadata={"description": "A day, the same wherever it is read."})
    due_time = WallTime(required=True, allow_none=True)
    time_zone = TimeZone(required=True, allow_none=True)
    due_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "The instant, when date, time and zone are all set."},
    )
    recurrence = Recurrence(required=True, allow_none=True)
    repeat_from = Choice(REPEAT_FROM, required=True)
    series_id = Integer(required=True, allow_none=True, metadata={"description": "The first task of the series."})
    next_task_id = Integer(required=True, allow_none=True, metadata={"description": "What completing it made."})
    position = fields.String(required=True, metadata={"description": "Sorts as text; set by `move`."})
    version = Integer(
        required=True,
        attribute="revision",
        metadata={"description": "The user's revision at the last change; the ETag in quotes."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    deleted_at = Timestamp(required=True, allow_none=True, metadata={"description": "Since when it is in the trash."})


class TaskIn(StrictSchema):
    """A task as it is sent. A member that is not sent keeps its value; null clears it."""

    title = Text(required=True, least=1, most=MAX_TITLE)
    description = Text(most=MAX_DESCRIPTION, multiline=True, allow_none=True)
    completed = Flag()
    priority = Choice(PRIORITIES, allow_none=True)
    tags = Tags(most=MAX_TAGS, longest=MAX_TAG, allow_none=True)
    due_date = Day(allow_none=True)
    due_time = WallTime(allow_none=True)
    time_zone = TimeZone(allow_none=True)
    recurrence = Recurrence(allow_none=True)
    repeat_from = Choice(REPEAT_FROM, allow_none=True)

    ignored = frozenset(TaskOut().fields) - {
        *("title", "description", "completed", "priority", "tags"),
        *("due_date", "due_time", "time_zone", "recurrence", "repeat_from"),
    }

    @post_load
    def _cleared(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Null clears: of what is never null, back to what a new task has."""
        cleared = {"priority": PRIORITIES["none"], "tags": (), "repeat_from": "due"}
        return {name: cleared.get(name) if value is None else value for name, value in data.items()}


class CompletionIn(StrictSchema):
    """What completion is set to; empty to flip it."""

    completed = Flag()


class NoMembers(StrictSchema):
    """The body of what needs none: an empty object at most."""


class NoParameters(StrictSchema):
    """The query string of everything but the list: none."""


task_in, task_out, tasks_out = TaskIn(), TaskOut(), TaskOut(many=True)


completion_in, no_members, no_parameters = CompletionIn(), NoMembers(), NoParameters()
