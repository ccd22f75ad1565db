"""Schema of the query string of `GET /tasks`, which loads to a `Selection`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from marshmallow import ValidationError, post_load, pre_load, validates_schema

from ...http.fields.collections import Repeated
from ...http.fields.scalars import OneOf, QueryInteger, Several, Text
from ...http.fields.strict import StrictSchema, Violation, refuse
from ...http.fields.time import Day, DayOrTime, TimeZone, start_of_day
from ..folding import fold
from ..members import PRIORITIES
from ..schemas import MAX_CURSOR, MAX_PAGE, MAX_TAG, MAX_TAGS
from .selection import SORTS, Selection

MAX_QUERY = 200
"""Maximum characters of the search text `q`."""


DEFAULT_SORT = "-created_at"

OTHER_PAGINATION = frozenset({"offset", "skip", "page", "page_size", "per_page"})
"""Parameters of other ways of pagination, which are refused: an offset skips or repeats tasks while others change."""

_NO_OFFSET = Violation("unknown", "Is not known here: follow the URL in `Link` to the next page, or raise `limit`.")

CONFLICTS = (
    ({"status", "completed"}, "Give `status` or `completed`, not both."),
    ({"q", "search"}, "Give `q` or `search`, not both."),
)
"""Parameters that must not be given together, and the instruction of the error."""


class ListQuery(StrictSchema):
    """The query string of `GET /tasks`."""

    limit = QueryInteger(
        least=1,
        most=MAX_PAGE,
        load_default=MAX_PAGE,
        metadata={"description": "A page of very long tasks ends earlier, at about 4 MiB, with a `next` link."},
    )
    cursor = Text(most=MAX_CURSOR, metadata={"description": "From the `next` link of the previous page."})
    sort = OneOf(SORTS, metadata={"default": DEFAULT_SORT, "description": "`-` reverses; undated tasks stay last."})
    order = OneOf(
        {"asc": "", "desc": "-"}, metadata={"description": "With a `sort` without `-`, or for the default sort."}
    )
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
    completed_from = DayOrTime(metadata={"description": "Inclusive; a date is a day in `tz`."})
    completed_to = DayOrTime(metadata={"description": "Inclusive; a date is a day in `tz`."})
    no_due = OneOf({"true": True}, metadata={"description": "Only tasks without a due date."})
    overdue = OneOf({"true": True}, metadata={"description": "Open tasks that are overdue by local time in `tz`."})
    tz = TimeZone(metadata={"description": "For `overdue` and dates of completion; UTC unless given."})
    q = Text(
        most=MAX_QUERY, metadata={"description": "In title or description; case, accents and typography do not count."}
    )
    search = Text(most=MAX_QUERY, metadata={"description": "An alias of `q`."})
    trash = OneOf({"true": True}, metadata={"description": "Tasks in the trash instead of live ones."})
    include = OneOf({"total": True}, metadata={"description": "`total` adds `X-Total-Count`."})

    @pre_load
    def _explain_pages(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Reject parameters such as `offset` and `page`: the error names `Link` instead; return the data unchanged."""
        if names := sorted(data.keys() & OTHER_PAGINATION):
            raise ValidationError({name: [_NO_OFFSET] for name in names})
        return data

    @validates_schema(skip_on_field_errors=True)
    def _check_combinations(self, data: dict[str, Any], **_: Any) -> None:
        """Reject parameters that contradict each other, a parameter and its alias, and `tz` that nothing else uses."""
        for names, instruction in CONFLICTS:
            if names <= data.keys():
                raise refuse("conflict", instruction)
        if "order" in data and data.get("sort", "").startswith("-"):
            raise refuse("conflict", "Give `order`, or `-` before the `sort`, not both.")
        if "no_due" in data and not data.keys().isdisjoint({"due_from", "due_to", "overdue"}):
            raise refuse("conflict", "Give `no_due` without `due_from`, `due_to` and `overdue`.")
        if "tz" in data and "overdue" not in data and not any(map(_is_day, _completion_bounds(data))):
            raise refuse("conflict", "Give `tz` with `overdue`, or with a date in `completed_from` or `completed_to`.")

    @post_load
    def _make_selection(self, data: dict[str, Any], **_: Any) -> Selection:
        """Make a `Selection` of the parameters; folds the search text and the tags as the stored columns are folded."""
        search, zone = data.get("q", data.get("search")), data.get("tz", "UTC")
        completed_from, completed_to = _completion_bounds(data)
        return Selection(
            limit=data["limit"],
            sort=_sort(data),
            completed=data.get("status", data.get("completed")),
            q=None if search is None else fold(search),
            priorities=tuple(sorted(data.get("priority", ()))),
            tags=tuple(sorted({tag.casefold() for tag in data["tag"]})),
            due_from=data.get("due_from"),
            due_to=data.get("due_to"),
            completed_from=None if completed_from is None else _start(completed_from, zone),
            completed_before=None if completed_to is None else _end(completed_to, zone),
            no_due="no_due" in data,
            overdue_in=zone if "overdue" in data else None,
            trash="trash" in data,
            cursor=data.get("cursor"),
            with_total="include" in data,
        )


def _sort(data: Mapping[str, Any]) -> str:
    """Return the sort with its sign, such as `-due`: `order` sets the sign, also that of the default sort."""
    if "order" in data:
        return str(data["order"] + data.get("sort", DEFAULT_SORT).removeprefix("-"))
    return str(data.get("sort", DEFAULT_SORT))


def _completion_bounds(data: Mapping[str, Any]) -> tuple[date | None, date | None]:
    """Return (`completed_from`, `completed_to`), each a date, a datetime in UTC, or None."""
    return data.get("completed_from"), data.get("completed_to")


def _start(value: date, zone: str) -> datetime:
    """Return the inclusive start of a period in UTC: a datetime unchanged, the start of a date in `zone`."""
    return value if isinstance(value, datetime) else start_of_day(value, zone)


def _end(value: date, zone: str) -> datetime:
    """Return the exclusive end, in UTC, of a period that includes `value`.

    It is the start of the next day in `zone` for a date, and 1 ms (the precision of all times) later for a datetime.
    """
    if isinstance(value, datetime):
        return value + timedelta(milliseconds=1)
    return start_of_day(value + timedelta(days=1), zone)


def _is_day(value: date | None) -> bool:
    """Return True for a date; False for None and for a datetime, which Python counts as a date."""
    return value is not None and not isinstance(value, datetime)


list_query = ListQuery()
