"""GET /tasks: list tasks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlencode

from flask import Response, g, request, url_for

from ...http.errors import BadCursor
from ...http.large_responses import FEW, FIRST, Permit
from ...http.request import if_none_match, matches_etag, query_parameters
from ...http.response import FastResponse, json_response, not_modified
from ..blueprints import tasks_bp
from ..pages import KeysetValues, Page
from ..responses import items
from ..schemas import tasks_out
from ..state import State, read_state
from . import cursors, queries
from .schemas import list_query
from .selection import Selection


@tasks_bp.get("", strict_slashes=False)
def index() -> Response:
    """List your tasks, newest first."""
    selection = query_parameters(list_query)
    sent, state = if_none_match(), None
    if sent is not None:
        state = read_state(g.user)
        cursors.decode_cursor(selection, state)
        if _has_etag(selection) and matches_etag(state.etag, sent):
            return not_modified(state.etag)
    with Permit(g.user.id) as permit:
        while (response := _list(selection, permit, state)) is None:
            permit.wait()
            state = None
        return permit.keep(response, response.size)


def _list(selection: Selection, permit: Permit, state: State | None) -> FastResponse | None:
    """A page; None if it needs a permit that is not free."""
    state, place, page = _state_and_page(selection, permit, state)
    found = items(
        page, selection.limit, permit, lambda page: queries.long_page(g.user, selection, place, page), tasks_out.dump
    )
    if found is None:
        return None
    page, shown = found
    headers = {}
    if (end := page.end) is not None:
        headers["Link"] = f'<{_next_page_url(cursors.encode_cursor(end, selection, state))}>; rel="next"'
    if selection.with_total:
        headers["X-Total-Count"] = str(queries.count(g.user, selection))
    response = json_response(shown, etag=state.etag if _has_etag(selection) else None, headers=headers)
    return response if permit.allows(response.size) else None


def _has_etag(selection: Selection) -> bool:
    # What is overdue changes with the clock, which no revision counts.
    return selection.overdue_in is None


def _state_and_page(
    selection: Selection, permit: Permit, state: State | None
) -> tuple[State, KeysetValues | None, Page]:
    """Where the user's data stands, unless it is known, the place of the cursor, and the page after it."""
    # Without a permit only the beginning of a long page is read.
    allowed = selection if selection.limit <= FEW or permit.take() else replace(selection, limit=FIRST)
    if state is not None:
        place = cursors.decode_cursor(selection, state)
        return state, place, queries.page(g.user, allowed, place)
    if selection.cursor is None:
        state, page = queries.state_and_page(g.user, allowed, None)
        return state, None, page
    before, place = _decode_position(selection)
    state, page = queries.state_and_page(g.user, allowed, place)
    if state.epoch != before.epoch:
        cursors.decode_cursor(selection, state)  # the data was erased meanwhile, and the cursor is of the epoch before
    return state, place, page


def _decode_position(selection: Selection) -> tuple[State, KeysetValues | None]:
    """What the cursor stands for, and the state that it was sealed in; the one seen last spares a question."""
    seen = queries.last_state(g.user)
    if seen is not None:
        with suppress(BadCursor):
            return seen, cursors.decode_cursor(selection, seen)
    state = read_state(g.user)
    return state, cursors.decode_cursor(selection, state)


def _next_page_url(cursor: str) -> str:
    """The address of the request, with another cursor; relative, so it is right behind any proxy."""
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return url_for("tasks.index", user_id=g.user.id) + "?" + urlencode([*query, ("cursor", cursor)])
