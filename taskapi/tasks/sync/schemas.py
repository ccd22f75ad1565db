"""Schemas of the delta feed: the query string and a tombstone."""

from __future__ import annotations

from marshmallow import Schema, fields

from ...http.fields.scalars import PositiveInteger, QueryInteger, Text
from ...http.fields.strict import StrictSchema
from ...http.fields.time import Timestamp
from ..schemas import MAX_CURSOR, MAX_PAGE


class ChangesQuery(StrictSchema):
    """The query string of `GET /changes`."""

    since = Text(most=MAX_CURSOR, metadata={"description": "`next` of the previous response; without it, everything."})
    limit = QueryInteger(
        least=1,
        most=MAX_PAGE,
        load_default=MAX_PAGE,
        metadata={"description": "A page of very long tasks ends earlier, at about 4 MiB, with `has_more`."},
    )


class TombstoneOut(Schema):
    """A deleted task in the feed; described in OpenAPI, not used to dump."""

    id = PositiveInteger(required=True)
    deleted = fields.Boolean(required=True, metadata={"enum": [True]})
    deleted_at = Timestamp(required=True)


changes_query = ChangesQuery()
