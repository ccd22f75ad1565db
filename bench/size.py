"""Compare a user with 200 tasks in a small table with a user with 1,000,000 tasks in a table of ten million."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from taskapi.tasks.listing import cursors
from taskapi.tasks.listing.schemas import list_query
from taskapi.tasks.state import State

from .contestants import TASKAPI, serve
from .database import EPOCH, MILLION, READERS, WRITERS, grow, superuser_engine, taskapi_database
from .measure import Measured, Pace, alternate, prepare
from .workloads import NEW_TASK, Step, Workload

PAGE = 20
DEEP_PAGE = 10_000
"""Number of a deep page: 200,000 tasks are before it."""


def compare(superuser: str, small_url: str, pace: Pace, log: Callable[[str], object]) -> Measured:
    """Return the series by workload: `small` and `large`."""
    deep_cursor = cursors.encode_cursor(
        (MILLION - DEEP_PAGE * PAGE + 1,), list_query.load({"limit": str(PAGE)}), State(1, EPOCH)
    )
    first = f"?limit={PAGE}"
    pairs = {
        "page 1": (Step("GET", READERS[0], first), Step("GET", MILLION, first)),
        f"page {DEEP_PAGE:,}": (Step("GET", READERS[0], first), Step("GET", MILLION, f"{first}&cursor={deep_cursor}")),
        "create": (Step("POST", WRITERS[0], body=NEW_TASK), Step("POST", MILLION, body=NEW_TASK)),
        "toggle": (
            Step("PATCH", WRITERS[0], "/complete", task=100),
            Step("PATCH", MILLION, "/complete", task=MILLION // 2),
        ),
    }
    measured: Measured = {}
    log("growing a table to ten million tasks")
    with taskapi_database(superuser) as large_url, tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        grow(superuser_engine(large_url, superuser))
        with serve(TASKAPI, small_url) as small, serve(TASKAPI, large_url) as large:
            for name, (small_step, large_step) in pairs.items():
                log(f"small and large: {name}")
                jobs = {
                    "small": prepare(small, Workload(f"small-{name}", name, [[small_step]]), Path(folder)),
                    "large": prepare(large, Workload(f"large-{name}", name, [[large_step]]), Path(folder)),
                }
                measured[name] = alternate(jobs, pace)
    return measured
