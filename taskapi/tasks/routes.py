"""The endpoints of a task. A view loads, acts and answers; who asks was settled before it (guard.py)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlencode

from flask import Response, g, request, url_for
from werkzeug.routing import BaseConverter

from ..errors import BadCursor
from ..guard import guarded
from ..large_responses import FEW, FIRST, Permit
from ..request import accepts, body, has_current, if_none_match, parameters
from ..response import Ready, answer, nothing, unchanged
from . import cursors, moves, queries, trash
from .answers import etag, items, task_answer
from .orders import Place
from .pages import Page
from .replays import idempotent
from .schemas import completion_in, delete_query, list_query, move_in, no_members, no_parameters, task_in, tasks_out
from .selection import Selection
from .target import aim, identity

MERGE_PATCH = "application/merge-patch+json"

bp = guarded("tasks", __name__, "/api/<user_id>/tasks")


class TaskPart(BaseConverter):
    """The part of a path that names a task; `batch` names none (routes_data.py), whatever the method."""

    regex = r"(?!batch\Z)[^/]+"
    part_isolating = True  # one part, though a slash stands in the pattern


bp.record(lambda setup: setup.app.url_map.converters.update(task=TaskPart))  # before the rules that use it


@bp.get("", strict_slashes=False)
def index() -> Response:
    """List your tasks, newest first."""
    selection = parameters(list_query)
    sent, state = if_none_match(), None
    if sent is not None:
        state = queries.state(g.user)
        cursors.unseal(selection, state)
        if _is_tagged(selection) and has_current(state.etag, sent):
            return unchanged(state.etag)
    with Permit(g.user.id) as permit:
        while (response := _list(selection, permit, state)) is None:
            permit.wait()
            state = None
        return permit.keep(response, response.size)


def _list(selection: Selection, permit: Permit, state: queries.State | None) -> Ready | None:
    """A page; None if it needs a permit that is not free."""
    state, place, page = _look(selection, permit, state)
    found = items(
        page, selection.limit, permit, lambda page: queries.long_page(g.user, selection, place, page), tasks_out.dump
    )
    if found is None:
        return None
    page, shown = found
    headers = {}
    if (end := page.end) is not None:
        headers["Link"] = f'<{_next_page(cursors.seal(end, selection, state))}>; rel="next"'
    if selection.with_total:
        headers["X-Total-Count"] = str(queries.count(g.user, selection))
    response = answer(shown, etag=state.etag if _is_tagged(selection) else None, headers=headers)
    return response if permit.allows(response.size) else None


def _is_tagged(selection: Selection) -> bool:
    # What is overdue changes with the clock, which no revision counts.
    return selection.overdue_in is None


def _look(
    selection: Selection, permit: Permit, state: queries.State | None
) -> tuple[queries.State, Place | None, Page]:
    """Where the user's data stands, unless it is known, the place of the cursor, and the page after it."""
    # Without a permit only the beginning of a long page is read.
    allowed = selection if selection.limit <= FEW or permit.take() else replace(selection, limit=FIRST)
    if state is not None:
        place = cursors.unseal(selection, state)
        return state, place, queries.page(g.user, allowed, place)
    if selection.cursor is None:
        state, page = queries.state_and_page(g.user, allowed, None)
        return state, None, page
    before, place = _place(selection)
    state, page = queries.state_and_page(g.user, allowed, place)
    if state.epoch != before.epoch:
        cursors.unseal(selection, state)  # the data was erased meanwhile, and the cursor is of the life before
    return state, place, page


def _place(selection: Selection) -> tuple[queries.State, Place | None]:
    """What the cursor stands for, and the state that it was sealed in; the one seen last spares a question."""
    seen = queries.seen(g.user)
    if seen is not None:
        with suppress(BadCursor):
            return seen, cursors.unseal(selection, seen)
    state = queries.state(g.user)
    return state, cursors.unseal(selection, state)


@bp.post("", strict_slashes=False)
@idempotent
def create() -> Response:
    """Add a task."""
    parameters(no_parameters)
    row = queries.add(g.user, body(task_in))
    return task_answer(row, 201, {"Location": url_for("tasks.show", user_id=g.user.id, id=row.id)})


@bp.get("/<task:id>", strict_slashes=False)
def show(id: str) -> Response:
    """Look at one task."""
    row = queries.find(g.user, identity(id))
    parameters(no_parameters)
    return unchanged(etag(row)) if has_current(etag(row), if_none_match()) else task_answer(row)


@bp.put("/<task:id>", strict_slashes=False)
@idempotent
def update(id: str) -> Response:
    """Change a task: members that are not sent keep their value, null clears."""
    with aim(id) as target:
        return task_answer(queries.change(g.user, *target, body(task_in, partial=True)))


@bp.patch("/<task:id>", strict_slashes=False)
@accepts(MERGE_PATCH, "application/json")
@idempotent
def patch(id: str) -> Response:
    """Change a task by a merge patch (RFC 7396)."""
    with aim(id) as target:
        return task_answer(queries.change(g.user, *target, body(task_in, partial=True)))


@bp.delete("/<task:id>", strict_slashes=False)
@idempotent
def delete(id: str) -> Response:
    """Put a task into the trash, or delete it for good."""
    # Read here without a check, which comes after 404 like any other.
    permanent = request.args.get("permanent") == "true"
    with aim(id, query=delete_query, find=trash.find if permanent else queries.find) as target:
        (trash.destroy if permanent else trash.remove)(g.user, *target)
    return nothing()


@bp.patch("/<task:id>/complete", strict_slashes=False)
@idempotent
def complete(id: str) -> Response:
    """Flip completion, or set it: only the latter can be repeated safely."""
    with aim(id) as target:
        wanted = body(completion_in)
        return task_answer(queries.change(g.user, *target, wanted) if wanted else queries.toggle(g.user, *target))


@bp.post("/<task:id>/restore", strict_slashes=False)
@idempotent
def restore(id: str) -> Response:
    """Take a task out of the trash."""
    with aim(id, find=trash.find) as target:
        body(no_members)
        return task_answer(trash.restore(g.user, *target))


@bp.post("/<task:id>/move", strict_slashes=False)
@idempotent
def move(id: str) -> Response:
    """Put a task next to another one in the manual order."""
    with aim(id) as target:
        ((side, other),) = body(move_in).items()
        return task_answer(moves.move(g.user, *target, before=side == "before", other=other))


def _next_page(cursor: str) -> str:
    """The address of the request, with another cursor; relative, so it is right behind any proxy."""
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return url_for("tasks.index", user_id=g.user.id) + "?" + urlencode([*query, ("cursor", cursor)])
