"""`GET /export`, `POST /import`, and `DELETE /api/{user_id}`, which erases everything."""

from __future__ import annotations

from flask import Response, g

from ...guard.rate_limit import charge
from ...http.large_responses import Permit
from ...http.request import accepts, json_body, query_parameters
from ...http.response import json_response, no_content, stream
from ..blueprints import MAX_BULK_BODY_BYTES, data_bp
from ..costs import TASKS_PER_UNIT
from ..replays import idempotent
from ..schemas import no_parameters
from ..state import count_tasks
from . import erasure, exports, formats, ical, imports
from .schemas import export_query, import_in

_FORMATS = {
    "json": (formats.as_json, "application/json", True),
    "csv": (formats.as_csv, "text/csv; charset=utf-8", False),
    "ics": (ical.as_icalendar, "text/calendar; charset=utf-8", False),
}
"""By format: the writer, the media type, and whether tasks in the trash are included."""


@data_bp.get("/export", strict_slashes=False)
def export() -> Response:
    """Export all tasks as JSON that can be imported again, as CSV or as iCalendar."""
    name = query_parameters(export_query)["format"]
    write, media_type, trash = _FORMATS[name]
    with Permit(g.user.id) as permit:
        permit.wait()
        charge(count_tasks(g.user) // TASKS_PER_UNIT)
        rows = exports.export(g.user, trash=trash)
        return permit.hold_until_closed(stream(write(rows), media_type, filename=f"tasks.{name}"), None)


@data_bp.post("/import", strict_slashes=False)
@accepts("application/json", max_bytes=MAX_BULK_BODY_BYTES)
@idempotent
def import_() -> Response:
    """Import tasks, all or none: a task whose id exists is changed, any other is created."""
    query_parameters(no_parameters)
    tasks = json_body(import_in)["tasks"]
    charge(len(tasks) // TASKS_PER_UNIT)
    return json_response(imports.import_tasks(g.user, tasks))


@data_bp.delete("", strict_slashes=False)
def erase() -> Response:
    """Erase all of your data, permanently."""
    query_parameters(no_parameters)
    charge(count_tasks(g.user) // TASKS_PER_UNIT)
    erasure.erase(g.user)
    return no_content()
