"""The six endpoints. A view loads, acts and answers; who asks was settled by the hook before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request, url_for

from ..auth.hook import require_user
from ..errors import BadParameter, BadRequest, Invalid, NotFound, PreconditionFailed, PreconditionRequired, respond
from ..request import body, expected_versions, has_current, parameters, receive_body
from ..response import answer, nothing, unchanged
from . import cursors, queries
from .schemas import completion_in, list_query, no_parameters, task_in, task_out, tasks_out

_ID = re.compile(r"[1-9][0-9]{0,17}")
"""An id in its one spelling, and small enough for a bigint of any database."""

bp = Blueprint("tasks", __name__, url_prefix="/api/<user_id>/tasks")

# In this order: who asks is settled before a byte of the body is read.
bp.before_request(require_user)
bp.before_request(receive_body)


@bp.get("", strict_slashes=False)
def index() -> Response:
    """List your tasks, newest first."""
    selection = parameters(list_query)
    state = queries.state(g.user)
    place = cursors.unseal(selection, state)
    if has_current(state.etag):
        return unchanged(state.etag)
    page = queries.page(g.user, selection, place)
    headers = {}
    if page.end is not None:
        headers["Link"] = f'<{_next_page(cursors.seal(page.end, selection, state))}>; rel="next"'
    if selection.with_total:
        headers["X-Total-Count"] = str(queries.count(g.user, selection))
    return answer(tasks_out.dump(page.rows), etag=state.etag, headers=headers)


@bp.post("", strict_slashes=False)
def create() -> Response:
    """Add a task."""
    parameters(no_parameters)
    row = queries.add(g.user, body(task_in))
    return _task(row, 201, {"Location": url_for(".show", user_id=g.user.id, id=row.id)})


@bp.get("/<id>", strict_slashes=False)
def show(id: str) -> Response:
    """Look at one task."""
    row = queries.find(g.user, _identity(id))
    parameters(no_parameters)
    return unchanged(_etag(row)) if has_current(_etag(row)) else _task(row)


@bp.put("/<id>", strict_slashes=False)
def update(id: str) -> Response:
    """Change a task: members that are not sent keep their value, null clears."""
    with _aim(id) as target:
        return _task(queries.change(g.user, *target, body(task_in, partial=True)))


@bp.delete("/<id>", strict_slashes=False)
def delete(id: str) -> Response:
    """Put a task into the trash."""
    with _aim(id) as target:
        queries.remove(g.user, *target)
    return nothing()


@bp.patch("/<id>/complete", strict_slashes=False)
def complete(id: str) -> Response:
    """Flip completion, or set it: only the latter can be repeated safely."""
    with _aim(id) as target:
        wanted = body(completion_in)
        return _task(queries.change(g.user, *target, wanted) if wanted else queries.toggle(g.user, *target))


@contextmanager
def _aim(id: str) -> Iterator[tuple[int, Set[int] | None]]:
    """The id of the task that a write is for, and the versions it may have.

    What is wrong with the request beside that, inside the block too, is said only to one who aims at a task that is
    there and of that version: 404, then 428 and 412, then 400 and 422.
    """
    number, expected = _identity(id), None
    try:
        expected = expected_versions()
        parameters(no_parameters)
        yield number, expected
    except (PreconditionRequired, BadParameter, BadRequest, Invalid):
        queries.find(g.user, number, expected)
        raise


def _identity(text: str) -> int:
    """The id in a path; whatever could never be one is as absent as an id that was never given."""
    if not _ID.fullmatch(text):
        raise queries.Absent
    return int(text)


def _task(row: queries.TaskRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return answer(task_out.dump(row), status, etag=_etag(row), headers=headers)


def _etag(row: queries.TaskRow) -> str:
    return f'"{row.revision}"'


def _next_page(cursor: str) -> str:
    """The address of the request, with another cursor; relative, so it is right behind any proxy."""
    return url_for(".index", user_id=g.user.id) + "?" + urlencode({**request.args, "cursor": cursor})


@bp.errorhandler(queries.Absent)
def _absent(_: queries.Absent) -> Response:
    # One answer, byte for byte, whatever the reason a task is not there.
    return respond(NotFound("You have no task of this id."))


@bp.errorhandler(queries.Changed)
def _changed(change: queries.Changed) -> Response:
    return respond(PreconditionFailed("`current` is what it is now.", current=task_out.dump(change.current)))
