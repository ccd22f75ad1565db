"""`GET /tasks`: list tasks, with ETag, cursors and total."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlencode

from flask import Response, g, request

from ...auth.tokens import User
from ...guard.rate_limit import charge
from ...http.errors import BadCursor
from ...http.large_responses import PROBE_ROWS, SMALL_PAGE, Permit
from ...http.request import MAX_CACHED_QUERY, QUERY_CACHE_SIZE, if_none_match, matches_etag, query_parameters
from ...http.response import FastResponse, json_response, not_modified
from ...http.routing import current_request
from ..blueprints import tasks_bp
from ..costs import SEARCH, TASKS_PER_UNIT
from ..long_requests import long_reads
from ..pages import KeysetValues, Page
from ..responses import page_items, path_of_tasks
from ..schemas import tasks_out
from ..state import State, last_state, read_state
from . import cursors, queries
from .schemas import list_query
from .selection import Selection

_STATE_ETAG = re.compile(r'(?:W/)?"([1-9][0-9]{0,17})\.([0-9a-f]{8})[^"]*"$')
"""An `If-None-Match` with one ETag of a list: the revision and the public id of the epoch."""


@tasks_bp.get("", strict_slashes=False)
def index() -> Response:
    """List your tasks: filtered, sorted (newest first by default) and in pages.

    Responds 304 if If-None-Match has the ETag. Waits for a permit if the response is large, and for one of long reads
    if no index has the selection. Charges the rate limit.
    """
    user, selection = g.user, query_parameters(list_query)
    if_none, state = if_none_match(), None
    if if_none is not None and not _has_changed(user, selection, if_none):
        state = read_state(user)
        cursors.decode_cursor(selection, state)
        if _has_etag(selection) and matches_etag(state.etag, if_none):
            return not_modified(state.etag)
    read = _long_list if selection.reads_all_tasks else _list
    with Permit(user.id) as permit:
        while (response := read(selection, permit, state)) is None:
            permit.acquire()
            state = None
        if if_none is not None and (etag := response.headers.get("ETag")) and matches_etag(etag, if_none):
            return not_modified(etag)  # the write was rolled back
        return permit.hold_until_closed(response, response.size)


def _list(selection: Selection, permit: Permit, state: State | None) -> FastResponse | None:
    """Return the response for one page; None if the caller must acquire `permit` and call this again.

    `state` is the user's state if the request has read it already, otherwise None. Charges the rate limit for a search
    and for each `TASKS_PER_UNIT` tasks, unless it returns None. Raises `BadCursor`.
    """
    state, keyset, page = _state_and_page(selection, permit, state)
    items = page_items(
        page, selection.limit, permit, lambda page: queries.long_page(g.user, selection, keyset, page), tasks_out.dump
    )
    if items is None:
        return None
    page, tasks = items
    headers = {}
    if (end := page.end) is not None:
        headers["Link"] = f'<{_next_page_url(g.user, cursors.encode_cursor(end, selection, state))}>; rel="next"'
    if selection.with_total:
        headers["X-Total-Count"] = str(queries.count(g.user, selection))
    response = json_response(tasks, etag=state.etag if _has_etag(selection) else None, headers=headers)
    if not permit.allows(response.size):
        return None
    if len(tasks) >= TASKS_PER_UNIT or selection.q:
        charge(len(tasks) // TASKS_PER_UNIT + (SEARCH if selection.q else 0))
    return response


_long_list = long_reads.limit(_list)


def _has_changed(user: User, selection: Selection, if_none: str) -> bool:
    """Return True if this worker knows of a write after the client's ETag, so that a 304 is not to be expected.

    Then state and page are read in one round trip. Always False with a cursor or a filter: the state is read first
    anyway. Also False if the worker knows no state of the user, or the ETag is not one of the present epoch.
    """
    if selection.cursor is not None or not selection.is_unfiltered:
        return False
    cached, seen = last_state(user), _STATE_ETAG.match(if_none)
    return cached is not None and seen is not None and seen[2] == cached.epoch_id and int(seen[1]) < cached.revision


def _has_etag(selection: Selection) -> bool:
    """Return True unless the list filters by `overdue`: then it changes with time, without a new revision."""
    return selection.overdue_in is None


def _state_and_page(
    selection: Selection, permit: Permit, state: State | None
) -> tuple[State, KeysetValues | None, Page]:
    """Return the user's state (read if None), the keyset values of the cursor, and the page after them.

    For a long page it acquires a permit if one is free; otherwise the page has at most `PROBE_ROWS` tasks. Raises
    `BadCursor`.
    """
    # A long page needs a permit; if none is free, only its first rows are read, which show whether it is long.
    is_allowed = selection.limit <= SMALL_PAGE or permit.acquire_now()
    allowed = selection if is_allowed else replace(selection, limit=PROBE_ROWS)
    if state is not None:
        keyset = cursors.decode_cursor(selection, state)
        return state, keyset, queries.page(g.user, allowed, keyset)
    if selection.cursor is None:
        state, page = queries.state_and_page(g.user, allowed, None)
        return state, None, page
    signed_in, keyset = _decode_cursor(selection)
    state, page = queries.state_and_page(g.user, allowed, keyset)
    if state.epoch != signed_in.epoch:
        cursors.decode_cursor(selection, state)  # raises BadCursor: an erasure has replaced the epoch in between
    return state, keyset, page


def _decode_cursor(selection: Selection) -> tuple[State, KeysetValues | None]:
    """Return the state whose epoch signed the selection's cursor, and the cursor's keyset values.

    The selection must have a cursor. The state may be an outdated one of this worker's cache; it is read only if none
    is cached or its epoch did not sign the cursor. Raises `BadCursor`.
    """
    cached = last_state(g.user)
    if cached is not None:
        with suppress(BadCursor):
            return cached, cursors.decode_cursor(selection, cached)
    state = read_state(g.user)
    return state, cursors.decode_cursor(selection, state)


def _next_page_url(user: User, cursor: str) -> str:
    """Return path and query of the request with this cursor instead; without a host, so valid behind any proxy."""
    query = current_request().query_string
    find = _query_without_cursor if len(query) <= MAX_CACHED_QUERY else _query_without_cursor.__wrapped__
    return f"{path_of_tasks(user)}?{find(query)}cursor={cursor}"  # which is base64 in the alphabet for URLs


@lru_cache(maxsize=QUERY_CACHE_SIZE)
def _query_without_cursor(_query: bytes) -> str:
    """Return the query string of the current request, `_query` (the key of the cache), up to the cursor to add."""
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return urlencode(query) + ("&" if query else "")
