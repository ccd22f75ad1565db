"""`GET /export`, `POST /import`, and `DELETE /api/{user_id}`, which erases everything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from flask import Response, g

from ...guard.rate_limit import charge
from ...http.errors import RETRY_AFTER, ServiceUnavailable
from ...http.large_responses import Permit
from ...http.permits import Permits
from ...http.request import accepts, query_parameters
from ...http.response import json_response, no_content, stream
from ...idempotency.hook import is_replay
from ..blueprints import data_bp
from ..costs import TASKS_PER_UNIT, WRITTEN_PER_UNIT
from ..long_requests import long_writes
from ..replays import idempotent
from ..schemas import no_parameters
from ..state import count_tasks
from . import erasure, export_icalendar, export_json_csv, export_rows, import_plan, imports
from .import_bodies import MEDIA_TYPES, read_tasks
from .import_plan import Plan
from .import_report import Report
from .schemas import export_query

MAX_IMPORT_BODY_BYTES = 16 * 1024 * 1024
"""Maximum bytes of the body of an import. The export of a full quota of ordinary tasks has 5 to 10 MB."""

IMPORTS_AT_A_TIME, IMPORT_TIMEOUT = 2, 10
"""Imports of different users that a worker computes at a time, since each takes memory, and seconds that another one
waits for its permit."""

import_permits = Permits("imports", per_user=1, per_worker=IMPORTS_AT_A_TIME)

_FORMATS = {
    "json": (export_json_csv.as_json, "application/json", True),
    "csv": (export_json_csv.as_csv, "text/csv; charset=utf-8", False),
    "ics": (export_icalendar.as_icalendar, "text/calendar; charset=utf-8", False),
}
"""By format: the writer, the media type, and whether tasks in the trash are included."""


@data_bp.get("/export", strict_slashes=False)
def export() -> Response:
    """Export all tasks as JSON that can be imported again, as CSV or as iCalendar.

    Only JSON includes the trash. Waits for a permit of a large response, and holds it until the response has been sent;
    charges the rate limit for the live tasks.
    """
    name = query_parameters(export_query)["format"]
    write, media_type, trash = _FORMATS[name]
    with Permit(g.user.id) as permit:
        permit.acquire()
        charge(count_tasks(g.user) // TASKS_PER_UNIT)
        rows = export_rows.export(g.user, trash=trash)
        return permit.hold_until_closed(stream(write(rows), media_type, filename=f"tasks.{name}"), None)


@data_bp.post("/import", strict_slashes=False)
@accepts(*MEDIA_TYPES, max_bytes=MAX_IMPORT_BODY_BYTES)
def import_() -> Response:
    """Import tasks, all or none: a task that is yours (`user_id`, `id`, `created_at`) is changed, any other is created.

    Waits for a permit for imports, and charges the rate limit; neither for a request whose response is stored.
    """
    if is_replay(g.user):
        return _write(None, Report())
    query_parameters(no_parameters)
    with import_permits.acquire(g.user.id, IMPORT_TIMEOUT):
        tasks, report = read_tasks()
        with report.errors_by_line():
            return _compute_and_write(tasks, report)


def _compute_and_write(tasks: Sequence[Any], report: Report) -> Response:
    """Compute an import and write it; return the response. Computes it again if tasks that it read have changed.

    Those are the tasks that it names and those of their series. Charges the rate limit for the tasks, and for the rows
    to write. Raises `ServiceUnavailable` after `ATTEMPTS`.
    """
    for _ in range(imports.ATTEMPTS):
        plan = import_plan.compute(g.user, tasks, rules_begin_at_task=report.rules_begin_at_task)
        charge(len(tasks) // TASKS_PER_UNIT + len(plan.rows) // WRITTEN_PER_UNIT)
        with suppress(imports.PlanOutdated):
            return _write(plan, report)
    raise ServiceUnavailable("The tasks that you import are being changed. Try again.", headers=RETRY_AFTER)


@idempotent
def _write(plan: Plan | None, report: Report) -> Response:
    """Write a computed import in one transaction, that of the idempotency key if there is one; return the response.

    `plan` is None for a request whose response is stored: `idempotent` then responds instead of this function, which
    raises `ServiceUnavailable` if that response has just expired. Raises `PlanOutdated` and `QuotaExceeded`.
    """
    if plan is None:  # the stored response has expired meanwhile
        raise ServiceUnavailable("The stored response has just expired.", headers=RETRY_AFTER)
    is_unchanged = imports.is_unchanged(g.user, plan)
    result = imports.unchanged_result(plan) if is_unchanged else imports.write(g.user, plan)
    return json_response({**result, "dropped": report.dropped})


@data_bp.delete("", strict_slashes=False)
@long_writes.limit
def erase() -> Response:
    """Erase all of your data, permanently.

    Waits for a permit for long writes, and charges the rate limit for the live tasks.
    """
    query_parameters(no_parameters)
    charge(count_tasks(g.user) // TASKS_PER_UNIT)
    erasure.erase(g.user)
    return no_content()
