"""The plan for a number of users, computed from measured costs: what bench/capacity.py prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from taskapi.auth.sessions import COOKIE_CACHE_GRACE, MAX_IN_MEMORY, REFRESH_INTERVAL, REREAD_AFTER
from taskapi.database.engine import POOL_SIZE

from . import costs

DAY = 86_400
BUSY = 0.7
"""Share of its processor time that a component uses at the peak: the target of deploy/kubernetes/base/api.yaml."""
WORKERS_PER_POD, MIN_PODS = 2, 2
DEAD_ROWS = 1.2
"""Storage for each byte of live rows: PostgreSQL vacuums at 20 % dead rows (`autovacuum_vacuum_scale_factor`)."""
SERVER_CONNECTIONS_PER_CORE = 4
"""Connections of a pooler to PostgreSQL for each core: transactions also wait for the disk. An assumption."""
SQLITE_GB = 10
"""Storage up to which SQLite is planned: a file of this size is still copied within minutes. An assumption."""
COORDINATOR_SHARE = 0.5
"""Share of the work of a Citus cluster that the coordinator does. An assumption: it was not measured."""
COUNTER_SECONDS = 120
"""Seconds that Redis keeps a counter of a limit per minute: two windows."""


@dataclass(frozen=True)
class Load:
    """What the users do, and the largest machines that are available for the database."""

    users: int
    active: float = 0.1
    """Share of the users who use the service on a day."""
    requests: float = 55.0
    """Requests per active user and day: five sessions of bench/workloads.py, with 11 requests each."""
    mix: Mapping[str, float] = field(default_factory=lambda: {"session": 1.0})
    """Weights of the workloads of bench/workloads.py."""
    peak: float = 3.0
    """Requests of the busiest second to the average of the day."""
    tasks: int = 200
    """Tasks per user, also those in the trash and tombstones."""
    task_bytes: int = costs.BYTES_PER_TASK
    sign_outs: float = 0.05
    """Sign-outs per active user and day."""
    token_lifetime: int = 900
    """Seconds: `JWT_MAX_LIFETIME`."""
    purge_hours: float = 24.0
    """Hours between two starts of `flask purge`."""
    server_cores: int = 16
    server_tb: float = 4.0
    request_costs: Mapping[str, costs.Cost] = field(default_factory=lambda: costs.REQUESTS)

    def mean(self, cost_of: Mapping[str, float]) -> float:
        """Return the mean of a figure of the workloads, weighted with the mix."""
        return sum(cost_of[name] * weight for name, weight in self.mix.items()) / sum(self.mix.values())

    @property
    def write_share(self) -> float:
        """Share of the requests that change something; each has an Idempotency-Key, as from the frontend."""
        return self.mean({name: costs.write_share(name) for name in self.mix})


@dataclass(frozen=True)
class Plan:
    """What a load needs at its peak, with each component busy for 70 % of its time."""

    load: Load
    requests: float
    """Per second, at the peak; so are all other rates."""
    writes: float
    api_cores: float
    pods: int
    database_cores: float
    unprepared_cores: float
    """Cores that PostgreSQL needs in addition if the pooler loses prepared statements."""
    storage_tb: float
    connections: int
    pooled_connections: int
    poolers: int
    redis_cores: float
    redis_operations: float
    redis_mb: float
    log_bytes: float
    """Write-ahead log per second."""
    sign_outs: float
    sign_out_rows: float
    sign_out_cores: float
    """Cores of the database for reading the log of sign-outs, included in `database_cores`."""
    purge_hours: float
    citus_workers: int
    """0 if one server suffices."""
    citus_cores: float

    @property
    def workers(self) -> int:
        """Worker processes of all pods."""
        return self.pods * WORKERS_PER_POD

    @property
    def coordinator_cores(self) -> float:
        """Cores of `citus_cores` that the coordinator needs."""
        return self.citus_cores * COORDINATOR_SHARE

    @property
    def stage(self) -> int:
        """The first stage of docs/scale.md whose processors and storage suffice; availability may need a later one."""
        if self.citus_workers:
            return 6
        if self.api_cores + self.database_cores > self.load.server_cores:
            return 4
        return 3 if self.writes > costs.SQLITE_WRITES / 2 or self.storage_tb * 1000 > SQLITE_GB else 2


def compute(load: Load) -> Plan:
    """Compute the plan of a load."""
    requests = load.users * load.active * load.requests / DAY * load.peak
    service, database = _service_microseconds(load), _database_microseconds(load)
    api_cores = _cores(requests, service + costs.REDIS_CLIENT)
    pods = max(MIN_PODS, math.ceil(api_cores / WORKERS_PER_POD))
    sign_out_rows = _sign_out_rows(load)
    sign_out_cores = sign_out_read_cores(pods * WORKERS_PER_POD, requests, sign_out_rows)
    database_cores = _cores(requests, database) + sign_out_cores
    storage_tb = _storage(load, sign_out_rows) / 1e12
    writes = requests * load.write_share
    citus_cores = _cores(requests, (service + database) / costs.CITUS_THROUGHPUT - service) + sign_out_cores
    return Plan(
        load=load,
        requests=requests,
        writes=writes,
        api_cores=api_cores,
        pods=pods,
        database_cores=database_cores,
        unprepared_cores=_cores(requests, costs.UNPREPARED),
        storage_tb=storage_tb,
        connections=pods * WORKERS_PER_POD * POOL_SIZE,
        pooled_connections=max(POOL_SIZE, math.ceil(database_cores * SERVER_CONNECTIONS_PER_CORE)),
        poolers=math.ceil(_cores(requests, costs.POOLER)),
        redis_cores=_cores(requests, costs.REDIS),
        redis_operations=requests * costs.REDIS_ROUND_TRIPS,
        redis_mb=_counters(load, requests) * costs.REDIS_BYTES_PER_COUNTER / 1e6,
        log_bytes=writes * (costs.LOG_BYTES_PER_WRITE + costs.LOG_BYTES_PER_KEY),
        sign_outs=load.users * load.active * load.sign_outs / DAY * load.peak,
        sign_out_rows=sign_out_rows,
        sign_out_cores=sign_out_cores,
        purge_hours=load.users * load.active * costs.PURGE / 3600,
        citus_workers=_citus_workers(load, database_cores, citus_cores, storage_tb),
        citus_cores=citus_cores,
    )


def _cores(per_second: float, microseconds: float) -> float:
    """Return the cores for a rate of operations, each of which takes this processor time."""
    return per_second * microseconds / 1e6 / BUSY


def _service_microseconds(load: Load) -> float:
    """Return the service's processor time per request, without that for Redis."""
    request = load.mean({name: cost.service for name, cost in load.request_costs.items()})
    return request + load.write_share * costs.KEY.service


def _database_microseconds(load: Load) -> float:
    """Return PostgreSQL's processor time per request, without that for sign-outs."""
    large = load.users * load.tasks >= costs.LARGE_TABLE
    factor = costs.LARGE_TABLE_FACTOR if large else 1
    request = load.mean({name: cost.database for name, cost in load.request_costs.items()})
    return factor * (request + load.write_share * costs.KEY.database)


def _sign_out_rows(load: Load) -> float:
    """Return the rows of the log of sign-outs before a purge: those that tokens need, and those that wait for it."""
    kept = (load.token_lifetime + COOKIE_CACHE_GRACE.total_seconds()) / DAY + load.purge_hours / 24
    return load.users * load.active * load.sign_outs * kept


def sign_out_read_cores(workers: int, requests: float, rows: float) -> float:
    """Return the cores of the database that the log of sign-outs takes at this rate of requests.

    Each worker reads new rows at most twice a second, and all of them once an hour; with more rows than it keeps in
    memory, each request looks up its session instead.
    """
    if rows > MAX_IN_MEMORY:
        return _cores(requests, costs.SIGN_OUT_LOOKUP)
    reads = min(workers / REFRESH_INTERVAL, requests)
    reload = costs.SIGN_OUT_RELOAD * rows / MAX_IN_MEMORY
    return _cores(reads, costs.SIGN_OUT_READ) + _cores(workers / REREAD_AFTER, reload)


def _storage(load: Load, sign_out_rows: float) -> float:
    """Return the bytes of the database, with indexes and dead rows."""
    keys = load.users * load.active * load.requests * load.write_share * (1 + load.purge_hours / 24)
    tasks = load.users * load.tasks * load.task_bytes
    users = load.users * costs.BYTES_PER_USER
    return (tasks + users + keys * costs.BYTES_PER_KEY + sign_out_rows * costs.BYTES_PER_SIGN_OUT) * DEAD_ROWS


def _counters(load: Load, requests: float) -> float:
    """Return the counters in Redis: of a user and an address for each request of two windows, at most."""
    return 2 * min(requests * COUNTER_SECONDS, load.users * load.active)


def _citus_workers(load: Load, database_cores: float, citus_cores: float, storage_tb: float) -> int:
    """Return the number of Citus workers; 0 if the load fits on one server of PostgreSQL."""
    if database_cores <= load.server_cores and storage_tb <= load.server_tb:
        return 0
    cores = citus_cores * (1 - COORDINATOR_SHARE)
    return max(2, math.ceil(cores / load.server_cores), math.ceil(storage_tb / load.server_tb))
