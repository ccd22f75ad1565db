"""`make neighbours`: how other users are served while one user repeats the largest requests, and a verdict for each.

For each request of `heavy.REQUESTS`, on SQLite and PostgreSQL, with one worker and with two: four connections of one
user with 10,000 tasks repeat it within the default rate limit, and meanwhile other users are measured (`probes`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, create_engine, insert, text

from taskapi.auth.tokens import User as Owner
from taskapi.tasks.models import Task, User
from taskapi.tasks.schemas import task_in
from taskapi.tasks.statements.rows import new_row
from tests.conftest import migrate
from tests.postgres import new_database

from .contestants import AS_SHIPPED, EMBEDDED, ROOT, TASKAPI, serve
from .database import CREATED_AT, EPOCH, server, superuser_engine
from .heavy import HEAVY, REQUESTS, TASKS, notes
from .probes import NEIGHBORS

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- neighbours -->\n", "<!-- end of neighbours -->\n"

MAX_MEDIAN_RATIO = 5
"""A neighbor's median may be this many times the one without a heavy user."""

MAX_P99 = {("sqlite", "read"): 50, ("sqlite", "write"): 400, ("postgresql", "read"): 50, ("postgresql", "write"): 50}
"""Milliseconds at the 99th percentile. SQLite has one writer at a time, so its writes wait for the heavy user's."""

DUE_USERS, DUE_TASKS = 100, 1_000
"""Users with due rows, and due rows of each, for `flask purge`."""

PURGE, LOCKED = "`flask purge` of 100,000 due tasks", "another process holds SQLite's write lock for 3 s"

_HOLD_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
while True:
    connection.execute("BEGIN IMMEDIATE"); time.sleep(3); connection.execute("COMMIT"); time.sleep(1)
"""


@dataclass(frozen=True)
class Result:
    """Milliseconds of the neighbors' requests during one kind of load; `statuses` are the heavy user's responses."""

    database: str
    workers: int
    load: str
    figures: Mapping[str, Any]
    statuses: Mapping[str, int]

    def failures(self, idle: Result) -> list[str]:
        """Return the limits that are exceeded."""
        found = []
        for kind in ("read", "write"):
            if self.load == LOCKED and kind == "write":
                continue  # no write can be made while another process holds the lock
            p50, p99 = (self.figures[kind][part] for part in ("p50", "p99"))
            if kind == "read" and p50 > MAX_MEDIAN_RATIO * idle.figures[kind]["p50"]:
                found.append(f"{kind} p50 {p50 / idle.figures[kind]['p50']:.1f} times that without load")
            if p99 > MAX_P99[self.database, kind]:
                found.append(f"{kind} p99 over {MAX_P99[self.database, kind]} ms")
            if set(self.figures[kind]["statuses"]) - {"200", "201"}:
                found.append(f"{kind} {dict(self.figures[kind]['statuses'])}")
        return found


def main() -> None:
    """Measure the chosen loads and print the table."""
    loads = [*REQUESTS, PURGE, LOCKED]
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--load", nargs="+", choices=loads, default=loads, metavar="LOAD", help=", ".join(loads))
    parser.add_argument("--database", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    parser.add_argument("--workers", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    chosen = parser.parse_args()
    results: list[Result] = []
    with ExitStack() as stack:
        superuser = stack.enter_context(server()) if "postgresql" in chosen.database else ""
        for database in chosen.database:
            for workers in chosen.workers:
                for load in dict.fromkeys(["nothing", *chosen.load]):
                    if load != LOCKED or database == "sqlite":
                        results.append(_measure(superuser, database, workers, load, chosen.seconds))
                        print(_row(results[-1], _idle(results, results[-1])), file=sys.stderr, flush=True)
    table = markdown(results)
    print(table)
    if chosen.write:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + table + "\n" + END + rest.partition(END)[2])


def _measure(superuser: str, database: str, workers: int, load: str, seconds: float) -> Result:
    contestant = EMBEDDED if database == "sqlite" else TASKAPI
    environ = {name: value for name, value in AS_SHIPPED.items() if name not in ("RATE_LIMIT", "MAX_TASKS_PER_USER")}
    contestant = replace(contestant, processes=workers, environ=environ)
    with _database(superuser, database, with_due_rows=load == PURGE) as url, serve(contestant, url) as running:
        _probe(running.port, 1)  # the first requests of a worker prepare statements and fill caches
        figures, output = _probe_during(_load_command(load, running.port, url), load, running.port, url, seconds)
    return Result(database, workers, load, figures, json.loads(output) if load in REQUESTS else {})


def _probe_during(command: list[str], load: str, port: int, url: str, seconds: float) -> tuple[dict[str, Any], str]:
    """Probe while a command produces the load; returns the figures and what the command printed."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "BETTER_AUTH_SECRET": "x" * 32},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as heavy:
        time.sleep(1 if load in REQUESTS else 0)
        figures = _probe(port, seconds)
        if load not in REQUESTS:
            heavy.kill()
        output, _ = heavy.communicate()
    return figures, output


def _load_command(load: str, port: int, url: str) -> list[str]:
    if load == PURGE:
        return [sys.executable, "-m", "flask", "--app", "wsgi", "purge"]
    if load == LOCKED:
        return [sys.executable, "-c", _HOLD_LOCK, url.removeprefix("sqlite:///")]
    return [sys.executable, "-m", "bench.heavy", str(port), load]


def _probe(port: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.probes", str(port), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def _database(superuser: str, database: str, *, with_due_rows: bool) -> Iterator[str]:
    """Make a database with the heavy user's tasks and the neighbors'; its URL."""
    if database == "sqlite":
        with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
            url = f"sqlite:///{folder}/taskapi.db"
            migrate(url)
            _fill(create_engine(url), with_due_rows=with_due_rows)
            yield url
    else:
        with new_database(superuser) as url:
            migrate(url)
            _fill(superuser_engine(url, superuser), with_due_rows=with_due_rows)
            yield url


def _fill(engine: Engine, *, with_due_rows: bool) -> None:
    with engine.begin() as connection:
        for name, tasks in ((HEAVY, TASKS), *((neighbor, 200) for neighbor in NEIGHBORS)):
            _add_user(connection, name, tasks)
        if with_due_rows:
            for number in range(DUE_USERS):
                _add_user(connection, f"due{number}", DUE_TASKS)
            connection.execute(
                text("UPDATE tasks SET deleted_at = :deleted_at WHERE user_id LIKE 'due%'"),
                {"deleted_at": CREATED_AT - timedelta(days=120)},
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE"))
    engine.dispose()


def _add_user(connection: Any, name: str, tasks: int) -> None:
    counters = {"revision": tasks, "last_task_id": tasks, "live_tasks": tasks}
    connection.execute(insert(User).values(user_id=name, epoch=EPOCH, **counters))
    rows = []
    for number in range(1, tasks + 1):
        members = {
            "title": f"Task number {number}, to be done some day",
            "description": notes(number),
            "priority": ("none", "low", "medium", "high")[number % 4],
            "tags": [["home", "garden"], ["work"], []][number % 3],
            "due_date": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}" if number % 3 else None,
        }
        rows.append(new_row(Owner(name), number, number, CREATED_AT + timedelta(seconds=number), task_in.load(members)))
    connection.execute(insert(Task), rows)


def markdown(results: Sequence[Result]) -> str:
    """Return the table of all results, with the verdict of each."""
    head = (
        "| Database, workers | One user repeats | Responses | Others' list of 20, p50 / p99 (ms) "
        "| Others' create, p50 / p99 (ms) | Within the limits |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(f"{_row(result, _idle(results, result))}\n" for result in results)


def _idle(results: Sequence[Result], result: Result) -> Result:
    here = (result.database, result.workers)
    return next(each for each in results if (each.database, each.workers) == here and each.load == "nothing")


def _row(result: Result, idle: Result) -> str:
    read, write = (
        f"{result.figures[kind]['p50']:.0f} / {result.figures[kind]['p99']:.0f}" for kind in ("read", "write")
    )
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(result.statuses.items())) or "–"
    verdict = "; ".join(result.failures(idle)) or "yes"
    return f"| {result.database}, {result.workers} | {result.load} | {statuses} | {read} | {write} | {verdict} |"


if __name__ == "__main__":
    main()
