"""`GET /export`, `POST /import`, and `DELETE /api/{user_id}`, which erases everything."""

from __future__ import annotations

from flask import Response, g

from ...http.large_responses import Permit
from ...http.request import accepts, json_body, query_parameters
from ...http.response import json_response, no_content, stream
from ..blueprints import MAX_BULK_BODY_BYTES, data_bp
from ..replays import idempotent
from ..schemas import no_parameters
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
    """Everything, as JSON that can be imported again, as CSV or as iCalendar."""
    name = query_parameters(export_query)["format"]
    write, media_type, trash = _FORMATS[name]
    with Permit(g.user.id) as permit:
        permit.wait()
        rows = exports.export(g.user, trash=trash)
        return permit.keep(stream(write(rows), media_type, filename=f"tasks.{name}"), None)


@data_bp.post("/import", strict_slashes=False)
@accepts("application/json", most=MAX_BULK_BODY_BYTES)
@idempotent
def import_() -> Response:
    """Bring tasks in, all or none: those of a known id are changed, the others made."""
    query_parameters(no_parameters)
    return json_response(imports.import_tasks(g.user, json_body(import_in)["tasks"]))


@data_bp.delete("", strict_slashes=False)
def erase() -> Response:
    """Erase everything there is of you, at once and for good."""
    query_parameters(no_parameters)
    erasure.erase(g.user)
    return no_content()
