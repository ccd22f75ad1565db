"""`python -m bench.capacity USERS…`: compute what numbers of users need, from measured costs (docs/scale.md).

Prints a table with a column for each number of users, and a warning for each limit that is exceeded. Nothing is
measured, except with `--measure-storage`, and nothing was tried at the computed size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from taskapi.auth.jwks_cache import REFRESH_AFTER
from taskapi.auth.sessions import MAX_IN_MEMORY, REFRESH_INTERVAL
from taskapi.config.settings import Config
from taskapi.database.engine import POOL_SIZE
from taskapi.database.write_limits import MAX_WRITES
from taskapi.guard.windows import Limit

from . import costs, footprint, limits
from .plan import WORKERS_PER_POD, Load, Plan, compute, sign_out_read_cores

OPTIONS = {
    "active": "share of the users who use the service on a day",
    "requests": "requests per active user and day",
    "peak": "requests of the busiest second to the average",
    "tasks": "tasks per user",
    "task_bytes": "bytes of storage per task",
    "sign_outs": "sign-outs per active user and day",
    "token_lifetime": "seconds, as JWT_MAX_LIFETIME",
    "purge_hours": "hours between two starts of flask purge",
    "server_cores": "cores of the largest database server",
    "server_tb": "terabytes of the largest database server",
}
"""Fields of `Load` that an option sets, and their meanings."""

Row = tuple[str, Callable[[Plan], str]]

ROWS: tuple[Row, ...] = (
    ("requests per second, at the peak", lambda plan: _number(plan.requests)),
    ("of these, writes", lambda plan: _number(plan.writes)),
    ("first stage that suffices", lambda plan: str(plan.stage)),
    ("API: cores", lambda plan: _number(plan.api_cores)),
    ("API: workers, in pods of 2", lambda plan: f"{plan.workers:,} in {plan.pods:,}"),
    ("API: memory of the pods, GiB", lambda plan: _number(plan.pods * costs.POD_MIB / 1024)),
    ("PostgreSQL: cores", lambda plan: _number(plan.database_cores)),
    ("PostgreSQL: of these, for sign-outs", lambda plan: _number(plan.sign_out_cores)),
    ("PostgreSQL: more without prepared statements", lambda plan: _number(plan.unprepared_cores)),
    ("PostgreSQL: storage, GB", lambda plan: _number(plan.storage_tb * 1000)),
    ("PostgreSQL: write-ahead log, MB/s", lambda plan: _number(plan.log_bytes / 1e6)),
    ("connections without PgBouncer", lambda plan: f"{plan.connections:,} ({_gigabytes(plan.connections)})"),
    ("connections with it", lambda plan: f"{plan.pooled_connections:,} ({_gigabytes(plan.pooled_connections)})"),
    ("PgBouncer: processes", lambda plan: str(plan.poolers)),
    ("Redis: cores", lambda plan: _number(plan.redis_cores)),
    ("Redis: round trips per second", lambda plan: _number(plan.redis_operations)),
    ("Redis: memory, MB", lambda plan: _number(plan.redis_mb)),
    ("sign-outs per second, at the peak", lambda plan: _number(plan.sign_outs)),
    ("log of sign-outs, rows", lambda plan: _number(plan.sign_out_rows)),
    ("`flask purge`, hours", lambda plan: _number(plan.purge_hours)),
    ("Citus: workers", lambda plan: str(plan.citus_workers or "–")),
    ("Citus: cores of all nodes", lambda plan: _number(plan.citus_cores) if plan.citus_workers else "–"),
)
"""Title of each row of the table, and how it is printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options and print the plan of each number of users."""
    defaults = Load(0)
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("users", nargs="*", type=int, default=[1_000_000])
    for name, meaning in OPTIONS.items():
        value = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"{meaning} ({value})")
    parser.add_argument("--mix", nargs="+", type=_weight, default=[("session", 1.0)], metavar="WORKLOAD=WEIGHT")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="processor time, measured by python -m bench --json")
    parser.add_argument("--workers", nargs="+", type=int, help="print what numbers of workers cost, and nothing else")
    parser.add_argument("--measure-storage", action="store_true", help="measure bytes and waits, and nothing else")
    options = parser.parse_args(arguments)
    if options.measure_storage:
        footprint.main()
    elif options.workers:
        print(of_workers(options.workers))
    else:
        measured = costs.read(options.costs) if options.costs else costs.REQUESTS
        values = {name: getattr(options, name) for name in OPTIONS}
        load = Load(0, mix=dict(options.mix), request_costs=measured, **values)
        print(of_plans([compute(replace(load, users=users)) for users in options.users]))


def _weight(text: str) -> tuple[str, float]:
    """Parse `list20=3`; raises `ArgumentTypeError` for an unknown workload."""
    name, _, weight = text.partition("=")
    if name not in costs.REQUESTS:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(costs.REQUESTS)}")
    return name, float(weight)


def of_plans(plans: Sequence[Plan]) -> str:
    """Return the table of plans in Markdown, with a column for each, and the list of warnings."""
    table = _table(
        [f"{plan.load.users:,} users" for plan in plans], [(name, map(value, plans)) for name, value in ROWS]
    )
    warnings = [f"- **{plan.load.users:,} users:** {text}" for plan in plans for text in limits.warnings(plan)]
    return "\n".join([table, *([""] if warnings else []), *warnings])


def of_workers(numbers: Sequence[int]) -> str:
    """Return the table of what workers cost whatever they serve, with a column for each number of workers."""
    limit = Limit.parse(Config.rate_limit or "")
    rows: tuple[tuple[str, Callable[[int], str]], ...] = (
        ("memory, GiB", lambda workers: _number(workers / WORKERS_PER_POD * costs.POD_MIB / 1024)),
        ("connections", lambda workers: f"{workers * POOL_SIZE:,} ({_gigabytes(workers * POOL_SIZE)})"),
        ("connections with synchronous standbys, at most", lambda workers: f"{workers * (POOL_SIZE + MAX_WRITES):,}"),
        ("reads of new sign-outs per second", lambda workers: _number(workers / REFRESH_INTERVAL)),
        ("PostgreSQL: cores for these", lambda workers: _number(sign_out_read_cores(workers, 1e9, MAX_IN_MEMORY))),
        ("fetches of the key set per second", lambda workers: _number(workers / REFRESH_AFTER)),
        (
            f"requests per {limit.seconds} s that a user may make without Redis",
            lambda workers: _number(workers * limit.amount),
        ),
    )
    return _table([f"{each:,} workers" for each in numbers], [(name, map(value, numbers)) for name, value in rows])


def _table(titles: Sequence[str], rows: Sequence[tuple[str, map[str]]]) -> str:
    """Return a Markdown table: a column for each title, after that of the rows' names."""
    lines = [["", *titles], ["---", *["--:"] * len(titles)], *([name, *cells] for name, cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _number(value: float) -> str:
    """Return a number with two significant digits, or without decimals from 10 on."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _gigabytes(connections: int) -> str:
    """Return the memory of the backends of connections."""
    return f"{_number(connections * costs.MB_PER_CONNECTION / 1000)} GB"


if __name__ == "__main__":
    main()
