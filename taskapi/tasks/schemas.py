"""What comes in and what goes out: the one source of the shape of a task."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from ..http.fields.collections import Members, Objects, Repeated, Tags
from ..http.fields.scalars import Choice, Count, Flag, Integer, Number, Several, Text
from ..http.fields.strict import StrictField, StrictSchema, Violation, refuse
from ..http.fields.time import Day, Instant, Timestamp, TimeZone, WallTime
from ..http.serialization import CompiledSchema
from .listing.selection import PRIORITIES, SORTS, Selection, fold
from .recurrence import rrule
from .transfer.queries import MAX_IMPORTED_ID

MAX_TITLE = 200
MAX_DESCRIPTION = 10_000
MAX_TAGS = 20
MAX_TAG = 50
MAX_PAGE = 1000
MAX_QUERY = 200
MAX_OPERATIONS = 100
MAX_IMPORTED = 10_000
MAX_CURSOR = 2000
"""A walk by title has the folded title inside: about 1,100 at most, whatever two hundred characters fold to."""

REPEAT_FROM = {"due": "due", "completion": "completion"}


class Recurrence(StrictField):
    """A rule of the subset that `recurrence` knows."""

    def __init__(self, **options: Any) -> None:
        shape = {"type": "string", "maxLength": rrule.MAX_RULE, "examples": ["FREQ=WEEKLY;BYDAY=MO,TH"]}
        super().__init__(shape, **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or len(value) > rrule.MAX_RULE:
            raise refuse("type", f"Must be a string of at most {rrule.MAX_RULE} characters.")
        return rrule.normalize(value)


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


class ListQuery(StrictSchema):
    """The query string of the list."""

    limit = Count(
        least=1,
        most=MAX_PAGE,
        load_default=MAX_PAGE,
        metadata={"description": "A page of very long tasks ends earlier, at about 4 MiB, with a `next` link."},
    )
    cursor = Text(most=MAX_CURSOR, metadata={"description": "From the `next` link of the page before."})
    sort = Choice(SORTS, load_default="-created_at", metadata={"description": "`-` reverses; undated tasks stay last."})
    status = Choice({"all": None, "pending": False, "completed": True})
    completed = Choice({"true": True, "false": False})
    priority = Several(PRIORITIES, metadata={"description": "Any of these, separated by commas."})
    tag = Repeated(
        Text(least=1, most=MAX_TAG),
        most=MAX_TAGS,
        load_default=list,
        metadata={"description": f"All of these; may be repeated up to {MAX_TAGS} times."},
    )
    due_from = Day()
    due_to = Day(metadata={"description": "Inclusive."})
    no_due = Choice({"true": True}, metadata={"description": "Only tasks without a due date."})
    overdue = Choice({"true": True}, metadata={"description": "Open tasks whose time is past, by the clock in `tz`."})
    tz = TimeZone(metadata={"description": "For `overdue`; UTC unless given."})
    q = Text(most=MAX_QUERY, metadata={"description": "In title or description; case and accents are folded."})
    trash = Choice({"true": True}, metadata={"description": "What is in the trash, instead."})
    include = Choice({"total": True}, metadata={"description": "`total` adds `X-Total-Count`."})

    @validates_schema
    def _without_contradiction(self, data: dict[str, Any], **_: Any) -> None:
        if "status" in data and "completed" in data:
            raise refuse("conflict", "Give `status` or `completed`, not both.")
        if "no_due" in data and not data.keys().isdisjoint({"due_from", "due_to", "overdue"}):
            raise refuse("conflict", "Give `no_due` without `due_from`, `due_to` and `overdue`.")
        if "tz" in data and "overdue" not in data:
            raise refuse("conflict", "Give `tz` with `overdue` only.")

    @post_load
    def _selection(self, data: dict[str, Any], **_: Any) -> Selection:
        return Selection(
            limit=data["limit"],
            sort=data["sort"],
            completed=data.get("status", data.get("completed")),
            q=fold(data["q"]) if "q" in data else None,
            priorities=tuple(sorted(data.get("priority", ()))),
            tags=tuple(sorted({tag.casefold() for tag in data["tag"]})),
            due_from=data.get("due_from"),
            due_to=data.get("due_to"),
            no_due="no_due" in data,
            overdue_in=data.get("tz", "UTC") if "overdue" in data else None,
            trash="trash" in data,
            cursor=data.get("cursor"),
            with_total="include" in data,
        )


class DeleteQuery(StrictSchema):
    """How a task is deleted."""

    permanent = Choice(
        {"true": True, "false": False},
        load_default=False,
        metadata={"description": "For good, in the trash or not; otherwise into the trash."},
    )


class MoveIn(StrictSchema):
    """Where a task is moved: exactly one of the two; null means the end on that side."""

    before = Integer(allow_none=True, metadata={"description": "The task it shall stand before; null: at the end."})
    after = Integer(allow_none=True, metadata={"description": "The task it shall stand after; null: at the start."})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise refuse("conflict", "Give `before` or `after`, and not both.")


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


class ImportedTask(TaskIn):
    """A task as an export wrote it; all but the title may be missing."""

    id = Integer(metadata={"maximum": MAX_IMPORTED_ID})
    completed_at = Instant(allow_none=True)
    created_at = Instant()
    updated_at = Instant()
    deleted_at = Instant(allow_none=True)
    position = Text(most=200)
    series_id = Integer(allow_none=True, metadata={"maximum": MAX_IMPORTED_ID})
    occurrence = Integer(allow_none=True)
    next_task_id = Integer(allow_none=True)

    ignored = frozenset({"user_id", "version", "due_at"})

    @validates_schema(skip_on_field_errors=True)
    def _of_sane_number(self, data: dict[str, Any], **_: Any) -> None:
        for name in ("id", "series_id"):
            if (data.get(name) or 1) > MAX_IMPORTED_ID:
                raise ValidationError({name: [Violation("range", f"Must be at most {MAX_IMPORTED_ID}.")]})


class ImportIn(StrictSchema):
    """The document that an export is."""

    format = Choice({"taskapi": "taskapi"})
    tasks = Objects(ImportedTask, least=0, most=MAX_IMPORTED, required=True)

    @validates_schema(skip_on_field_errors=True)
    def _once_each(self, data: dict[str, Any], **_: Any) -> None:
        seen = set()
        for index, task in enumerate(data["tasks"]):
            if task.get("id") in seen:
                raise ValidationError({"tasks": {index: {"id": [Violation("unique", "Is there already.")]}}})
            seen.add(task.get("id", -index))


class ChangesQuery(StrictSchema):
    """The query string of the feed."""

    since = Text(most=MAX_CURSOR, metadata={"description": "`next` of the answer before; without it, everything."})
    limit = Count(
        least=1,
        most=MAX_PAGE,
        load_default=MAX_PAGE,
        metadata={"description": "A page of very long tasks ends earlier, at about 4 MiB, with `has_more`."},
    )


class StatsQuery(StrictSchema):
    """The query string of the numbers."""

    tz = TimeZone(load_default="UTC", metadata={"description": "By whose clock tasks are overdue or due today."})


class ExportQuery(StrictSchema):
    """The query string of the export."""

    format = Choice({name: name for name in ("json", "csv", "ics")}, load_default="json")


class TombstoneOut(Schema):
    """A task of the feed that is gone."""

    id = Integer(required=True)
    deleted = fields.Boolean(required=True, metadata={"enum": [True]})
    deleted_at = Timestamp(required=True)


class StatsOut(Schema):
    """The numbers."""

    total = Number(required=True, metadata={"description": "Tasks that are not in the trash."})
    pending = Number(required=True)
    completed = Number(required=True)
    overdue = Number(required=True)
    due_today = Number(required=True)
    trash = Number(required=True)
    by_priority = fields.Dict(required=True)


class ImportOut(Schema):
    """What an import did."""

    created = Number(required=True)
    updated = Number(required=True)
    unchanged = Number(required=True)


task_in, task_out, tasks_out = TaskIn(), TaskOut(), TaskOut(many=True)
completion_in, move_in, no_members = CompletionIn(), MoveIn(), NoMembers()
batch_in, import_in = BatchIn(), ImportIn()
changes_query, stats_query, export_query = ChangesQuery(), StatsQuery(), ExportQuery()
no_parameters, list_query, delete_query = NoParameters(), ListQuery(), DeleteQuery()
