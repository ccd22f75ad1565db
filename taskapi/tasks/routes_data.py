"""The endpoints of all of a user's tasks at once: batch, feed, numbers, export, import, erasure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, g, url_for
from marshmallow import ValidationError

from ..guard.blueprint import guarded_blueprint
from ..http.errors import BadCursor, Gone
from ..http.fields.time import rfc3339
from ..http.large_responses import FEW, FIRST, Permit, large
from ..http.request import accepts, if_none_match, json_body, matches_etag, query_parameters
from ..http.response import FastResponse, json_response, no_content, not_modified, stream
from . import batch as batches
from . import queries
from . import stats as numbers
from .replays import idempotent
from .responses import as_problem, items
from .schemas import batch_in, changes_query, export_query, import_in, no_parameters, stats_query, task_out
from .statements import TaskRow
from .sync import queries as sync
from .transfer import formats
from .transfer import queries as transfer

MAX_BODY_BYTES = 1024 * 1024

bp = guarded_blueprint("data", __name__, "/api/<user_id>")

_FORMATS = {
    "json": (formats.as_json, "application/json", True),
    "csv": (formats.as_csv, "text/csv; charset=utf-8", False),
    "ics": (formats.as_icalendar, "text/calendar; charset=utf-8", False),
}
"""By name: the writer, the media type, and whether the trash goes with it."""


@bp.post("/tasks/batch", strict_slashes=False)
@accepts("application/json", most=MAX_BODY_BYTES)
@large
@idempotent
def batch() -> Response:
    """Make up to 100 changes: all of them, or none."""
    query_parameters(no_parameters)
    operations = json_body(batch_in)["operations"]
    try:
        rows = batches.apply(g.user, operations)
    except batches.OperationFailed as failure:
        problem = as_problem(failure.cause)
        pointer = f"/operations/{failure.index}"
        if isinstance(failure.cause, ValidationError) and "task" in operations[failure.index]:
            pointer += "/task"  # the other members of an operation were validated before
        inner = problem.members.get("errors") or [{"pointer": "", "detail": problem.detail, "code": problem.code}]
        problem.members["errors"] = [{**fault, "pointer": pointer + fault["pointer"]} for fault in inner]
        raise problem from failure
    return json_response({"results": [row and task_out.dump(row) for row in rows]})


@bp.get("/changes", strict_slashes=False)
def changes() -> Response:
    """What has changed since a token, with tombstones; without a token, everything."""
    query = query_parameters(changes_query)
    with Permit(g.user.id) as permit:
        while (response := _changes(query, permit)) is None:
            permit.wait()
        return permit.keep(response, response.size)


def _changes(query: dict[str, Any], permit: Permit) -> FastResponse | None:
    """A page of the feed; None if it needs a permit that is not free."""
    state = queries.state(g.user)
    try:
        since = sync.decode_token(query.get("since"), state)
    except sync.SyncTokenExpired:
        start = url_for("data.changes", user_id=g.user.id)
        raise Gone("Read it from the start again.", headers={"Link": f'<{start}>; rel="start"'}) from None
    except sync.InvalidSyncToken:
        raise BadCursor("`since` is not a token of this feed. Begin without it.") from None
    if ("since" not in query or since.is_at_end(state)) and matches_etag(state.etag, if_none_match()):
        return not_modified(state.etag)
    if since.is_at_end(state):
        return json_response({"items": [], "next": sync.encode_token(since, state), "has_more": False}, etag=state.etag)
    limit = query["limit"]
    page = sync.page(g.user, since, limit if limit <= FEW or permit.take() else FIRST)
    found = items(page, limit, permit, lambda page: sync.long_page(g.user, since, page), _dump)
    if found is None:
        return None
    shown_page, shown = found
    following = sync.encode_token(sync.end(shown_page, since, state), state)
    more = shown_page.following is not None
    response = json_response({"items": shown, "next": following, "has_more": more}, etag=state.etag)
    return response if permit.allows(response.size) else None


def _dump(rows: Sequence[TaskRow]) -> list[Any]:
    return [task_out.dump(row) if row.deleted_at is None else _tombstone(row) for row in rows]


@bp.get("/stats", strict_slashes=False)
def stats() -> Response:
    """How many tasks there are of each kind."""
    return json_response(numbers.stats(g.user, query_parameters(stats_query)["tz"]))


@bp.get("/export", strict_slashes=False)
def export() -> Response:
    """Everything, as JSON that can be imported again, as CSV or as iCalendar."""
    name = query_parameters(export_query)["format"]
    write, media_type, trash = _FORMATS[name]
    with Permit(g.user.id) as permit:
        permit.wait()
        rows = transfer.export(g.user, trash=trash)
        return permit.keep(stream(write(rows), media_type, filename=f"tasks.{name}"), None)


@bp.post("/import", strict_slashes=False)
@accepts("application/json", most=MAX_BODY_BYTES)
@idempotent
def import_() -> Response:
    """Bring tasks in, all or none: those of a known id are changed, the others made."""
    query_parameters(no_parameters)
    return json_response(transfer.import_tasks(g.user, json_body(import_in)["tasks"]))


@bp.delete("", strict_slashes=False)
def erase() -> Response:
    """Erase everything there is of you, at once and for good."""
    query_parameters(no_parameters)
    transfer.erase(g.user)
    return no_content()


def _tombstone(row: Any) -> dict[str, Any]:
    return {"id": row.id, "deleted": True, "deleted_at": rfc3339(row.deleted_at)}
