"""`GET /stats`: the number of tasks of each kind."""

from __future__ import annotations

from flask import Response, g

from ...guard.rate_limit import charge
from ...http.request import query_parameters
from ...http.response import json_response
from ..blueprints import data_bp
from ..costs import COUNTED_PER_UNIT
from ..long_requests import long_reads
from . import queries
from .schemas import stats_query


@data_bp.get("/stats", strict_slashes=False)
@long_reads.limit
def stats() -> Response:
    """Count your tasks by kind.

    Waits for a permit for long reads, and charges the rate limit for the tasks that are counted.
    """
    counts = queries.stats(g.user, query_parameters(stats_query)["tz"])
    charge((counts["total"] + counts["trash"]) // COUNTED_PER_UNIT)
    return json_response(counts)
