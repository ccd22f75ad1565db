"""Schema of the query string of a deletion."""

from __future__ import annotations

from ...http.fields.scalars import OneOf
from ...http.fields.strict import StrictSchema


class DeleteQuery(StrictSchema):
    """The query string of `DELETE /tasks/{id}`."""

    permanent = OneOf(
        {"true": True, "false": False},
        load_default=False,
        metadata={"description": "`true` deletes permanently, from the trash or not; `false` moves to the trash."},
    )


delete_query = DeleteQuery()
