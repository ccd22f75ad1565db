"""GET /changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, g, url_for

from ...http.errors import BadCursor, Gone
from ...http.fields.time import rfc3339
from ...http.large_responses import FEW, FIRST, Permit
from ...http.request import if_none_match, matches_etag, query_parameters
from ...http.response import FastResponse, json_response, not_modified
from ..blueprints import data_bp
from ..responses import items
from ..schemas import task_out
from ..state import read_state
from ..statements.rows import TaskRow
from . import queries, tokens
from .schemas import changes_query


@data_bp.get("/changes", strict_slashes=False)
def changes() -> Response:
    """What has changed since a token, with tombstones; without a token, everything."""
    query = query_parameters(changes_query)
    with Permit(g.user.id) as permit:
        while (response := _changes(query, permit)) is None:
            permit.wait()
        return permit.keep(response, response.size)


def _changes(query: dict[str, Any], permit: Permit) -> FastResponse | None:
    """A page of the feed; None if it needs a permit that is not free."""
    state = read_state(g.user)
    try:
        since = tokens.decode_token(query.get("since"), state)
    except tokens.SyncTokenExpired:
        start = url_for("data.changes", user_id=g.user.id)
        raise Gone("Read it from the start again.", headers={"Link": f'<{start}>; rel="start"'}) from None
    except tokens.InvalidSyncToken:
        raise BadCursor("`since` is not a token of this feed. Begin without it.") from None
    if ("since" not in query or since.is_at_end(state)) and matches_etag(state.etag, if_none_match()):
        return not_modified(state.etag)
    if since.is_at_end(state):
        return json_response(
            {"items": [], "next": tokens.encode_token(since, state), "has_more": False}, etag=state.etag
        )
    limit = query["limit"]
    page = queries.page(g.user, since, limit if limit <= FEW or permit.take() else FIRST)
    found = items(page, limit, permit, lambda page: queries.long_page(g.user, since, page), _dump)
    if found is None:
        return None
    shown_page, shown = found
    following = tokens.encode_token(tokens.end(shown_page, since, state), state)
    more = shown_page.following is not None
    response = json_response({"items": shown, "next": following, "has_more": more}, etag=state.etag)
    return response if permit.allows(response.size) else None


def _dump(rows: Sequence[TaskRow]) -> list[Any]:
    return [task_out.dump(row) if row.deleted_at is None else _tombstone(row) for row in rows]


def _tombstone(row: Any) -> dict[str, Any]:
    return {"id": row.id, "deleted": True, "deleted_at": rfc3339(row.deleted_at)}
