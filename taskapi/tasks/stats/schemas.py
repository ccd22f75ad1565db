"""Schemas of the statistics: the query string and the result."""

from __future__ import annotations

from marshmallow import Schema, fields

from ...http.fields.scalars import Number
from ...http.fields.strict import StrictSchema
from ...http.fields.time import TimeZone


class StatsQuery(StrictSchema):
    """The query string of `GET /stats`."""

    tz = TimeZone(
        load_default="UTC",
        metadata={"description": "The time zone whose local time decides what is overdue or due today."},
    )


class StatsOut(Schema):
    """The numbers of tasks; described in OpenAPI, not used to dump."""

    total = Number(required=True, metadata={"description": "Tasks that are not in the trash."})
    pending = Number(required=True)
    completed = Number(required=True)
    overdue = Number(required=True)
    due_today = Number(required=True)
    trash = Number(required=True)
    by_priority = fields.Dict(required=True)


stats_query = StatsQuery()
