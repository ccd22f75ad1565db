"""The endpoints of a task. A view loads, acts and responds; taskapi/guard has checked the request before it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlencode

from flask import Response, g, request, url_for
from werkzeug.routing import BaseConverter

from ..guard.blueprint import guarded_blueprint
from ..http.errors import BadCursor
from ..http.large_responses import FEW, FIRST, Permit
from ..http.request import accepts, if_none_match, json_body, matches_etag, query_parameters
from ..http.response import FastResponse, json_response, no_content, not_modified
from . import moves, queries, trash
from .listing import cursors
from .listing.orders import KeysetValues
from .listing.pages import Page
from .listing.selection import Selection
from .preconditions import parse_task_id, task_precondition
from .replays import idempotent
from .responses import etag, items, task_response
from .schemas import completion_in, delete_query, list_query, move_in, no_members, no_parameters, task_in, tasks_out

MERGE_PATCH = "application/merge-patch+json"

bp = guarded_blueprint("tasks", __name__, "/api/<user_id>/tasks")


class TaskPart(BaseConverter):
    """The part of a path that names a task; `batch` names none (routes_data.py), whatever the method."""

    regex = r"(?!batch\Z)[^/]+"
    part_isolating = True  # one part, though a slash stands in the pattern


bp.record(lambda setup: setup.app.url_map.converters.update(task=TaskPart))  # before the rules that use it


@bp.get("", strict_slashes=False)
def index() -> Response:
    """List your tasks, newest first."""
    selection = query_parameters(list_query)
    sent, state = if_none_match(), None
    if sent is not None:
        state = queries.state(g.user)
        cursors.decode_cursor(selection, state)
        if _has_etag(selection) and matches_etag(state.etag, sent):
            return not_modified(state.etag)
    with Permit(g.user.id) as permit:
        while (response := _list(selection, permit, state)) is None:
            permit.wait()
            state = None
        return permit.keep(response, response.size)


def _list(selection: Selection, permit: Permit, state: queries.State | None) -> FastResponse | None:
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
    selection: Selection, permit: Permit, state: queries.State | None
) -> tuple[queries.State, KeysetValues | None, Page]:
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


def _decode_position(selection: Selection) -> tuple[queries.State, KeysetValues | None]:
    """What the cursor stands for, and the state that it was sealed in; the one seen last spares a question."""
    seen = queries.last_state(g.user)
    if seen is not None:
        with suppress(BadCursor):
            return seen, cursors.decode_cursor(selection, seen)
    state = queries.state(g.user)
    return state, cursors.decode_cursor(selection, state)


@bp.post("", strict_slashes=False)
@idempotent
def create() -> Response:
    """Add a task."""
    query_parameters(no_parameters)
    row = queries.add(g.user, json_body(task_in))
    return task_response(row, 201, {"Location": url_for("tasks.show", user_id=g.user.id, id=row.id)})


@bp.get("/<task:id>", strict_slashes=False)
def show(id: str) -> Response:
    """Look at one task."""
    row = queries.find(g.user, parse_task_id(id))
    query_parameters(no_parameters)
    return not_modified(etag(row)) if matches_etag(etag(row), if_none_match()) else task_response(row)


@bp.put("/<task:id>", strict_slashes=False)
@idempotent
def update(id: str) -> Response:
    """Change a task: members that are not sent keep their value, null clears."""
    with task_precondition(id) as target:
        return task_response(queries.change(g.user, *target, json_body(task_in, partial=True)))


@bp.patch("/<task:id>", strict_slashes=False)
@accepts(MERGE_PATCH, "application/json")
@idempotent
def patch(id: str) -> Response:
    """Change a task by a merge patch (RFC 7396)."""
    with task_precondition(id) as target:
        return task_response(queries.change(g.user, *target, json_body(task_in, partial=True)))


@bp.delete("/<task:id>", strict_slashes=False)
@idempotent
def delete(id: str) -> Response:
    """Put a task into the trash, or delete it for good."""
    # Read here without a check, which comes after 404 like any other.
    permanent = request.args.get("permanent") == "true"
    with task_precondition(id, query=delete_query, find=trash.find if permanent else queries.find) as target:
        (trash.destroy if permanent else trash.remove)(g.user, *target)
    return no_content()


@bp.patch("/<task:id>/complete", strict_slashes=False)
@idempotent
def complete(id: str) -> Response:
    """Flip completion, or set it: only the latter can be repeated safely."""
    with task_precondition(id) as target:
        wanted = json_body(completion_in)
        return task_response(queries.change(g.user, *target, wanted) if wanted else queries.toggle(g.user, *target))


@bp.post("/<task:id>/restore", strict_slashes=False)
@idempotent
def restore(id: str) -> Response:
    """Take a task out of the trash."""
    with task_precondition(id, find=trash.find) as target:
        json_body(no_members)
        return task_response(trash.restore(g.user, *target))


@bp.post("/<task:id>/move", strict_slashes=False)
@idempotent
def move(id: str) -> Response:
    """Put a task next to another one in the manual order."""
    with task_precondition(id) as target:
        ((side, other),) = json_body(move_in).items()
        return task_response(moves.move(g.user, *target, before=side == "before", other=other))


def _next_page_url(cursor: str) -> str:
    """The address of the request, with another cursor; relative, so it is right behind any proxy."""
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return url_for("tasks.index", user_id=g.user.id) + "?" + urlencode([*query, ("cursor", cursor)])
