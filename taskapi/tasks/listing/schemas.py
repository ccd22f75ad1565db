"""Schema of the query string of `GET /tasks`, which loads to a `Selection`."""

from __future__ import annotations

from typing import Any

from marshmallow import post_load, validates_schema

from ...http.fields.collections import Repeated
from ...http.fields.scalars import OneOf, QueryInteger, Several, Text
from ...http.fields.strict import StrictSchema, refuse
from ...http.fields.time import Day, TimeZone
from ..folding import fold
from ..members import PRIORITIES
from ..schemas import MAX_CURSOR, MAX_PAGE, MAX_TAG, MAX_TAGS
from .selection import SORTS, Selection

MAX_QUERY = 200
"""Maximum characters of the search text `q`."""


class ListQuery(StrictSchema):
    """The query string of `GET /tasks`."""

    limit = QueryInteger(
        least=1,
        most=MAX_PAGE,
        load_default=MAX_PAGE,
        metadata={"description": "A page of very long tasks ends earlier, at about 4 MiB, with a `next` link."},
    )
    cursor = Text(most=MAX_CURSOR, metadata={"description": "From the `next` link of the previous page."})
    sort = OneOf(SORTS, load_default="-created_at", metadata={"description": "`-` reverses; undated tasks stay last."})
    status = OneOf({"all": None, "pending": False, "completed": True})
    completed = OneOf({"true": True, "false": False})
    priority = Several(PRIORITIES, metadata={"description": "Any of these, separated by commas."})
    tag = Repeated(
        Text(least=1, most=MAX_TAG),
        most=MAX_TAGS,
        load_default=list,
        metadata={"description": f"All of these; may be repeated up to {MAX_TAGS} times."},
    )
    due_from = Day()
    due_to = Day(metadata={"description": "Inclusive."})
    no_due = OneOf({"true": True}, metadata={"description": "Only tasks without a due date."})
    overdue = OneOf({"true": True}, metadata={"description": "Open tasks that are overdue by local time in `tz`."})
    tz = TimeZone(metadata={"description": "For `overdue`; UTC unless given."})
    q = Text(most=MAX_QUERY, metadata={"description": "In title or description; case and accents are folded."})
    trash = OneOf({"true": True}, metadata={"description": "Tasks in the trash instead of live ones."})
    include = OneOf({"total": True}, metadata={"description": "`total` adds `X-Total-Count`."})

    @validates_schema
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        """Reject `status` with `completed`, `no_due` with another due filter, and `tz` without `overdue`."""
        if "status" in data and "completed" in data:
            raise refuse("conflict", "Give `status` or `completed`, not both.")
        if "no_due" in data and not data.keys().isdisjoint({"due_from", "due_to", "overdue"}):
            raise refuse("conflict", "Give `no_due` without `due_from`, `due_to` and `overdue`.")
        if "tz" in data and "overdue" not in data:
            raise refuse("conflict", "Give `tz` with `overdue` only.")

    @post_load
    def _make_selection(self, data: dict[str, Any], **_: Any) -> Selection:
        """Make a `Selection` of the parameters; the search text and the tags are folded, as the columns are."""
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


list_query = ListQuery()
