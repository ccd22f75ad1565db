"""`GET /changes`: the delta feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, g, url_for

from ...guard.rate_limit import charge
from ...http.errors import BadCursor, Gone
from ...http.fields.time import rfc3339
from ...http.large_responses import PROBE_ROWS, SMALL_PAGE, Permit
from ...http.request import if_none_match, matches_etag, query_parameters
from ...http.response import FastResponse, json_response, not_modified
from ..blueprints import data_bp
from ..costs import TASKS_PER_UNIT
from ..responses import page_items
from ..schemas import task_out
from ..state import State, read_state
from ..statements.rows import TaskRow
from . import queries, tokens
from .schemas import changes_query


@data_bp.get("/changes", strict_slashes=False)
def changes() -> Response:
    """List what has changed since a sync token, with tombstones; without a token, everything."""
    query = query_parameters(changes_query)
    with Permit(g.user.id) as permit:
        while (response := _changes(query, permit)) is None:
            permit.wait()
        return permit.hold_until_closed(response, response.size)


def _changes(query: dict[str, Any], permit: Permit) -> FastResponse | None:
    """Return the response for one page of the feed, or None if it is large and `permit` is not held."""
    state = read_state(g.user)
    since = _decode_since(query.get("since"), state)
    if ("since" not in query or since.is_at_end(state)) and matches_etag(state.etag, if_none_match()):
        return not_modified(state.etag)
    if since.is_at_end(state):
        token = tokens.encode_token(since, state)
        return json_response({"items": [], "next": token, "has_more": False}, etag=state.etag)
    limit = query["limit"]
    page = queries.page(g.user, since, limit if limit <= SMALL_PAGE or permit.acquire() else PROBE_ROWS)
    items = page_items(page, limit, permit, lambda page: queries.long_page(g.user, since, page), _dump)
    if items is None:
        return None
    page, changed = items
    token = tokens.encode_token(tokens.position_after(page, since, state), state)
    body = {"items": changed, "next": token, "has_more": page.following is not None}
    response = json_response(body, etag=state.etag)
    if not permit.allows(response.size):
        return None
    charge(len(changed) // TASKS_PER_UNIT)
    return response


def _decode_since(token: str | None, state: State) -> tokens.SyncPosition:
    """Decode the parameter `since`. Raises `Gone` (410) for an expired token, `BadCursor` (400) for an invalid one."""
    try:
        return tokens.decode_token(token, state)
    except tokens.SyncTokenExpired:
        start = url_for("data.changes", user_id=g.user.id)
        raise Gone("Read it from the start again.", headers={"Link": f'<{start}>; rel="start"'}) from None
    except tokens.InvalidSyncToken:
        raise BadCursor("`since` is not a token of this feed. Begin without it.") from None


def _dump(rows: Sequence[TaskRow]) -> list[Any]:
    """Serialize rows of the feed: live tasks whole, deleted ones as tombstones."""
    return [task_out.dump(row) if row.deleted_at is None else _tombstone(row) for row in rows]


def _tombstone(row: TaskRow) -> dict[str, Any]:
    """Serialize a deleted task, in the trash or purged."""
    return {"id": row.id, "deleted": True, "deleted_at": rfc3339(row.deleted_at)}
