"""Measured costs of requests, rows and workers, from which bench/capacity.py computes a plan.

Each constant says which command measured it and when; measure again on your own machine, because a core of another
machine does more or less: `python -m bench --json FILE`, then `python -m bench.capacity --costs FILE`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contestants import TASKAPI
from .workloads import WORKLOADS


@dataclass(frozen=True)
class Cost:
    """Microseconds of processor time per request: of the service, and of PostgreSQL."""

    service: float
    database: float


REQUESTS = {
    "list20": Cost(800, 220),
    "list1000": Cost(8_239, 1_615),
    "get": Cost(522, 138),
    "poll20": Cost(451, 97),
    "poll1000": Cost(428, 88),
    "delta": Cost(623, 109),
    "create": Cost(863, 415),
    "toggle": Cost(687, 391),
    "session": Cost(782, 333),
}
"""By workload. `make bench` on two idle cores, 2026-11-30, commit 497b125: medians of 15 slices."""

LARGE_TABLE, LARGE_TABLE_FACTOR = 10_000_000, 1.7
"""From this number of tasks on, PostgreSQL's processor time is this many times that of a small table.

`make bench`, "Depth and size", 2026-11-30: the first page of a list, in a table of ten million tasks.
"""

SQLITE_WRITES = 572
"""Creations per second by 12 writers on SQLite. `make chaos`, docs/reliability.md, November 2026."""

# The following: `python -m bench.capacity --measure-storage`, 2026-11-30, commit 3261234: medians of four runs, on
# two cores that other programs used a little.

BYTES_PER_TASK = 528
"""Of storage, with indexes: a task with a title, every second one with a description of 124 characters."""
BYTES_PER_USER = 257
"""Of storage, with the index: the counters of a user."""
BYTES_PER_KEY = 1_257
"""Of storage, with indexes: a stored response of a creation with an Idempotency-Key."""
BYTES_PER_SIGN_OUT = 477
"""Of storage, with indexes: an ended session and its logout token."""
LOG_BYTES_PER_WRITE = 963
"""Of write-ahead log: 1,064 of a creation, 811 of a toggle, as 3 to 2; without full-page images after a checkpoint."""
KEY = Cost(1_150, 623)
"""In addition for a creation with an Idempotency-Key: service 1,073 to 1,282, PostgreSQL 557 to 662."""
LOG_BYTES_PER_KEY = 1_877
"""Of write-ahead log, in addition."""
MB_PER_CONNECTION = 9.1
"""Of memory of a PostgreSQL backend that has executed the requests of the measurement, without shared buffers."""
POOLER = 47
"""Microseconds of processor time of PgBouncer 1.18 in transaction mode per list of 20."""
REDIS_ROUND_TRIPS = 4
"""Per request from a public address; 2 from a private one."""
REDIS = 209
"""Microseconds of processor time of Redis per request from a public address."""
REDIS_CLIENT = 674
"""Microseconds of processor time of the service per request, on top of that of the counters in memory."""
REDIS_BYTES_PER_COUNTER = 136
"""Of memory: a user or an address in a window."""
SIGN_OUTS_PER_SECOND = 349
"""Of one writer, 271 to 401: all sign-outs of a database follow one another."""
SIGN_OUT_READ = 124
"""Microseconds of PostgreSQL for a worker's read of new sign-outs."""
SIGN_OUT_RELOAD = 12_245
"""Microseconds of PostgreSQL for a worker's read of 20,000 sign-outs, once an hour."""
SIGN_OUT_LOOKUP = 62
"""Microseconds of PostgreSQL for a request that looks up its session, with more than 20,000 sign-outs."""
PURGE = 0.026
"""Seconds of `flask purge` per user with expired keys, of which at least 0.02 are a pause."""

UNPREPARED = 300
"""Microseconds of PostgreSQL per list of 20 without prepared statements, as behind PgBouncer 1.18: operations.md."""

POD_MIB = 256
"""Memory of a pod with two workers. `python -m bench.resources`, 2026-11-30: 212 MiB after four large imports."""

CITUS_THROUGHPUT = 0.45
"""Requests per second on Citus for each on plain PostgreSQL, all nodes and the service on the same two cores.

From a trial by hand, elsewhere: list 0.38 to 0.58, toggle 0.44 to 0.49, create 0.38 to 0.44 (operations.md).
"""


def read(file: Path) -> dict[str, Cost]:
    """Return `REQUESTS`, with those workloads replaced that `python -m bench --json` has written to a file."""
    measured: Mapping[str, Any] = json.loads(file.read_text())
    return REQUESTS | {
        workload: _median(by_name[TASKAPI.name]["slices"])
        for workload, by_name in measured.items()
        if workload in REQUESTS and TASKAPI.name in by_name
    }


def _median(slices: list[Mapping[str, float]]) -> Cost:
    return Cost(*(statistics.median(each[name] for each in slices) for name in ("service", "database")))


def write_share(workload: str) -> float:
    """Return the share of the requests of a workload that change something."""
    plan = next(each.plans[0] for each in WORKLOADS if each.name == workload)
    return sum(step.method != "GET" for step in plan) / len(plan)
