"""Schemas of a task in requests and responses, and of empty requests, with the limits that all subpackages share."""

from __future__ import annotations

from marshmallow import fields

from ..http.fields.collections import Tags
from ..http.fields.scalars import Flag, OneOf, PositiveInteger, Text
from ..http.fields.strict import StrictSchema
from ..http.fields.time import Day, Timestamp, TimeZone, WallTime
from ..http.serialization import CompiledSchema
from .members import PRIORITIES, REPEAT_FROM
from .recurrence.fields import Recurrence

MAX_TITLE, MAX_DESCRIPTION = 200, 10_000
"""Maximum characters of a title and of a description."""

MAX_TAGS, MAX_TAG = 20, 50
"""Maximum number of tags of a task, and maximum characters of each."""

MAX_PAGE = 1000
"""Maximum number of tasks on a page of the list and of the delta feed."""

MAX_CURSOR = 2000
"""Maximum characters of a cursor or a sync token.

The longest is a cursor of a list sorted by title, which holds a compressed folded title: about 1,100 characters for
any title of 200.
"""


class TaskOut(CompiledSchema):
    """A task in a response; all members are always present."""

    id = PositiveInteger(
        required=True, metadata={"description": "From the user's own counter: 1, 2, 3…, never reused."}
    )
    user_id = fields.String(required=True, metadata={"description": "The subject of the token.", "maxLength": 255})
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    completed = fields.Boolean(required=True)
    completed_at = Timestamp(required=True, allow_none=True)
    priority = OneOf(PRIORITIES, required=True)
    tags = Tags(most=MAX_TAGS, longest=MAX_TAG, required=True)
    due_date = Day(required=True, allow_none=True, metadata={"description": "A calendar day without a time zone."})
    due_time = WallTime(required=True, allow_none=True)
    time_zone = TimeZone(required=True, allow_none=True)
    due_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "The instant, if date, time and zone are all set."},
    )
    recurrence = Recurrence(required=True, allow_none=True)
    repeat_from = OneOf(REPEAT_FROM, required=True)
    series_id = PositiveInteger(
        required=True, allow_none=True, metadata={"description": "The first task of the series."}
    )
    next_task_id = PositiveInteger(
        required=True,
        allow_none=True,
        metadata={"description": "The next task of the series."},
    )
    position = fields.String(required=True, metadata={"description": "Sorts as text; set by `move`."})
    version = PositiveInteger(
        required=True,
        attribute="revision",
        metadata={"description": "The user's revision at the last change; the ETag in quotes."},
    )
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)
    deleted_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "When it was moved to the trash."},
    )


class TaskIn(StrictSchema):
    """A task in a request; null resets a member to its default. In a change, an absent member keeps its value."""

    title = Text(required=True, least=1, most=MAX_TITLE)
    description = Text(most=MAX_DESCRIPTION, multiline=True, allow_none=True)
    completed = Flag()
    priority = OneOf(PRIORITIES, allow_none=True)
    tags = Tags(most=MAX_TAGS, longest=MAX_TAG, allow_none=True)
    due_date = Day(allow_none=True)
    due_time = WallTime(allow_none=True)
    time_zone = TimeZone(allow_none=True)
    recurrence = Recurrence(allow_none=True)
    repeat_from = OneOf(REPEAT_FROM, allow_none=True)

    ignored = frozenset(TaskOut().fields) - {
        *("title", "description", "completed", "priority", "tags"),
        *("due_date", "due_time", "time_zone", "recurrence", "repeat_from"),
    }
    null_values = {"priority": PRIORITIES["none"], "tags": (), "repeat_from": "due"}


class CompletionIn(StrictSchema):
    """The body of `PATCH …/complete`: the value to set, or an empty object to toggle."""

    completed = Flag()


class CompletionQuery(StrictSchema):
    """The query string of a request that may complete tasks."""

    tz = TimeZone(
        metadata={
            "description": "Your time zone: the day on which a recurring task is completed, unless the task has a time "
            "zone of its own. UTC unless given; without effect on other tasks."
        }
    )


class NoMembers(StrictSchema):
    """The body of a request without members: absent or an empty object."""


class NoParameters(StrictSchema):
    """The query string of an endpoint without parameters."""


task_in, task_out, tasks_out = TaskIn(), TaskOut(), TaskOut(many=True)
completion_in, completion_query = CompletionIn(), CompletionQuery()
no_members, no_parameters = NoMembers(), NoParameters()
