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
from ...http.serialization import in_slices
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
    """List what has changed since a sync token, with tombstones; without a token, everything.

    Responds 304 if If-None-Match has the ETag. Waits for a permit if the response is large, and charges the rate limit.
    """
    query = query_parameters(changes_query)
    with Permit(g.user.id) as permit:
        while (response := _changes(query, permit)) is None:
            permit.acquire()
        return permit.hold_until_closed(response, response.size)


def _changes(query: dict[str, Any], permit: Permit) -> FastResponse | None:
    """Return the response for one page of the feed; None if it is large, and no permit is held or free now.

    It is a 304 if If-None-Match has the ETag, without a token or at the end of the feed. Charges the rate limit for
    each `TASKS_PER_UNIT` changes, unless it returns None. Raises `Gone` and `BadCursor`.
    """
    token, limit = query.get("since"), query["limit"]
    if token is None and if_none_match() is None:
        state, page = queries.state_and_first_page(g.user, _rows_to_read(limit, permit))
        since = _decode_since(None, state)
    else:
        state = read_state(g.user)
        since = _decode_since(token, state)
        if (token is None or since.is_at_end(state)) and matches_etag(state.etag, if_none_match()):
            return not_modified(state.etag)
        if since.is_at_end(state):
            return _response([], tokens.encode_token(since, state), state, has_more=False)
        page = queries.page(g.user, since, _rows_to_read(limit, permit))
    items = page_items(page, limit, permit, lambda page: queries.long_page(g.user, since, page), _dump)
    if items is None:
        return None
    page, changed = items
    following = tokens.encode_token(tokens.position_after(page, since, state), state)
    response = _response(changed, following, state, has_more=page.following is not None)
    if not permit.allows(response.size):
        return None
    charge(len(changed) // TASKS_PER_UNIT)
    return response


def _rows_to_read(limit: int, permit: Permit) -> int:
    """Return how many rows of a page of `limit` to read: all, or `PROBE_ROWS` of a long page without a permit.

    Acquires the permit for a long page if one is free. `PROBE_ROWS` suffice to see whether the page is large.
    """
    return limit if limit <= SMALL_PAGE or permit.acquire_now() else PROBE_ROWS


def _response(items: Sequence[Any], token: str, state: State, *, has_more: bool) -> FastResponse:
    """Return the response of a page, with the ETag of all data; `token` is the sync token of the next page."""
    return json_response({"items": items, "next": token, "has_more": has_more}, etag=state.etag)


def _decode_since(token: str | None, state: State) -> tokens.SyncPosition:
    """Return the position of the parameter `since`; raise `Gone` (410) if it expired, `BadCursor` (400) if invalid."""
    try:
        return tokens.decode_token(token, state)
    except tokens.SyncTokenExpired:
        start = url_for("data.changes", user_id=g.user.id)
        raise Gone(
            "The token is too old: read the feed from its start again.", headers={"Link": f'<{start}>; rel="start"'}
        ) from None
    except tokens.InvalidSyncToken:
        raise BadCursor("`since` is not a token of this feed. Begin without it.") from None


def _dump(rows: Sequence[TaskRow]) -> list[Any]:
    """Serialize rows of the feed in order: live tasks whole, those in the trash or purged as tombstones.

    Yields to other requests after each `SLICE_ROWS`, if there are more rows than that.
    """
    return [task_out.dump(row) if row.deleted_at is None else _tombstone(row) for row in in_slices(rows)]


def _tombstone(row: TaskRow) -> dict[str, Any]:
    """Serialize a deleted task, in the trash or purged, without its content."""
    return {"id": row.id, "deleted": True, "deleted_at": rfc3339(row.deleted_at)}
