"""Whether size costs anything: a user of 200 tasks in a small table beside one of 1,000,000 in ten million."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from taskapi.tasks.listing import cursors
from taskapi.tasks.listing.schemas import list_query
from taskapi.tasks.state import State

from .contestants import TASKAPI, serve
from .database import EPOCH, MILLION, READERS, WRITERS, beyond_walls, grow, taskapi_database
from .measure import Measured, Pace, alternate, prepare
from .workloads import NEW, Step, Workload

PAGE = 20
DEPTH = 10_000
"""The page that is far down: 200,000 tasks have come before it."""


def compare(superuser: str, small_url: str, pace: Pace, say: Callable[[str], object]) -> Measured:
    """By workload, `small` and `large`."""
    far = cursors.encode_cursor((MILLION - DEPTH * PAGE + 1,), list_query.load({"limit": str(PAGE)}), State(1, EPOCH))
    first = f"?limit={PAGE}"
    pairs = {
        "page 1": (Step("GET", READERS[0], first), Step("GET", MILLION, first)),
        f"page {DEPTH:,}": (Step("GET", READERS[0], first), Step("GET", MILLION, f"{first}&cursor={far}")),
        "create": (Step("POST", WRITERS[0], body=NEW), Step("POST", MILLION, body=NEW)),
        "toggle": (
            Step("PATCH", WRITERS[0], "/complete", task=100),
            Step("PATCH", MILLION, "/complete", task=MILLION // 2),
        ),
    }
    measured: Measured = {}
    say("growing a table to ten million tasks")
    with taskapi_database(superuser) as large_url, tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        grow(beyond_walls(large_url, superuser))
        with serve(TASKAPI, small_url) as small, serve(TASKAPI, large_url) as large:
            for name, (step_of_small, step_of_large) in pairs.items():
                say(f"small and large: {name}")
                jobs = {
                    "small": prepare(small, Workload(f"small-{name}", name, [[step_of_small]]), Path(folder)),
                    "large": prepare(large, Workload(f"large-{name}", name, [[step_of_large]]), Path(folder)),
                }
                measured[name] = alternate(jobs, pace)
    return measured
