"""The limits of the components in a plan (bench/plan.py), each with its early warning in docs/operations.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from taskapi.auth.sessions import MAX_IN_MEMORY

from . import costs
from .plan import Plan

MAX_REPLICAS = 10
"""Of deploy/kubernetes/base/api.yaml."""
MAX_CONNECTIONS = 100
"""PostgreSQL's default of `max_connections`."""
SHARDS = 32
"""Of `flask distribute`: no more workers can hold users."""


@dataclass(frozen=True)
class CapacityLimit:
    """A limit of a component: whether a plan exceeds it, and what to do."""

    is_exceeded: Callable[[Plan], bool]
    advice: Callable[[Plan], str]
    alert: str
    """The alert of deploy/grafana/alerts.yaml that fires first; "" if only PostgreSQL or the host shows it."""


LIMITS = (
    CapacityLimit(
        lambda plan: plan.pods > MAX_REPLICAS,
        lambda plan: f"{plan.pods:,} pods: raise `maxReplicas` (deploy/kubernetes/base/api.yaml, {MAX_REPLICAS})",
        "TaskapiSlotWaits",
    ),
    CapacityLimit(
        lambda plan: plan.connections > MAX_CONNECTIONS,
        lambda plan: f"{plan.connections:,} connections: raise `max_connections` ({MAX_CONNECTIONS}), or use PgBouncer",
        "TaskapiDatabaseUnavailable",
    ),
    CapacityLimit(
        lambda plan: plan.poolers > 1,
        lambda plan: f"PgBouncer uses one core: run {plan.poolers} processes",
        "TaskapiSlotWaits",
    ),
    CapacityLimit(
        lambda plan: plan.redis_cores > 1,
        lambda plan: (
            f"Redis executes commands on one core and needs {plan.redis_cores:.1f}: groups of API hosts with a Redis"
            " each, and each user always sent to the same group"
        ),
        "TaskapiRateLimitOff",
    ),
    CapacityLimit(
        lambda plan: plan.sign_out_rows > MAX_IN_MEMORY,
        lambda plan: (
            f"{plan.sign_out_rows:,.0f} sign-outs: above {MAX_IN_MEMORY:,} each request reads the database for its"
            " session; purge more often, or lower `JWT_MAX_LIFETIME`"
        ),
        "TaskapiEndedSessionsMemory",
    ),
    CapacityLimit(
        lambda plan: plan.sign_outs > costs.SIGN_OUTS_PER_SECOND,
        lambda plan: (
            f"{plan.sign_outs:,.0f} sign-outs per second: they follow one another, and"
            f" {costs.SIGN_OUTS_PER_SECOND} per second were measured"
        ),
        "TaskapiErrors",
    ),
    CapacityLimit(
        lambda plan: plan.purge_hours > plan.load.purge_hours,
        lambda plan: (
            f"`flask purge` takes {plan.purge_hours:,.0f} hours and starts every {plan.load.purge_hours:g}: it is one"
            " process, and what is due is kept longer"
        ),
        "TaskapiPurgeOverdue",
    ),
    CapacityLimit(
        lambda plan: plan.database_cores > plan.load.server_cores,
        lambda plan: f"PostgreSQL needs {plan.database_cores:,.0f} cores: Citus, or larger servers",
        "TaskapiSlow",
    ),
    CapacityLimit(
        lambda plan: plan.storage_tb > plan.load.server_tb,
        lambda plan: f"{plan.storage_tb:,.1f} TB: Citus, or larger servers",
        "",
    ),
    CapacityLimit(
        lambda plan: plan.citus_workers > 0 and plan.coordinator_cores > plan.load.server_cores,
        lambda plan: (
            f"the coordinator of Citus plans each statement: {plan.coordinator_cores:,.0f} cores, if that"
            " is half of the work; several clusters, each with a part of the users"
        ),
        "TaskapiSlow",
    ),
    CapacityLimit(
        lambda plan: plan.citus_workers > SHARDS,
        lambda plan: f"{plan.citus_workers} workers of Citus: `flask distribute --shards` above {SHARDS}",
        "",
    ),
)
"""In the order of docs/scale.md."""


def warnings(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each limit that a plan exceeds, with the alert that warns of it."""
    for limit in LIMITS:
        if limit.is_exceeded(plan):
            yield limit.advice(plan) + (f" (`{limit.alert}`)." if limit.alert else ".")
