"""`GET /stats`: the number of tasks of each kind."""

from __future__ import annotations

from flask import Response, g

from ...http.request import query_parameters
from ...http.response import json_response
from ..blueprints import data_bp
from ..long_requests import long_reads
from . import queries
from .schemas import stats_query


@data_bp.get("/stats", strict_slashes=False)
@long_reads.limit
def stats() -> Response:
    """Count your tasks by kind.

    Runs with a permit for long reads.
    """
    return json_response(queries.stats(g.user, query_parameters(stats_query)["tz"]))
