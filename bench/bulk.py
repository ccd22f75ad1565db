"""`python -m bench.bulk`: processor time and round trips of bulk requests on 10,000 tasks, and a verdict for each.

With `--base FOLDER`, another checkout of the repository is measured in the same run, for the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import migrate
from tests.postgres import new_database

from .contestants import ROOT
from .database import server
from .wire import Traffic, relay

MAX_CPU = {"export, ICS": 1.0, "export, CSV": 0.4, "export, JSON": 0.3}
"""Seconds of processor time."""

MAX_CHANGED_RATIO, MAX_LOCK, MAX_ROUND_TRIPS = 2, 0.2, 6
"""Time of an import of changed tasks by that of new ones, processor seconds for which SQLite's lock is held, and round
trips of a batch on PostgreSQL."""

Figures = Mapping[str, Mapping[str, float]]
"""By request: `cpu` and `lock` in seconds, `memory` in MB, `round_trips`."""


def main() -> None:
    """Measure the databases and checkouts, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__)
    parser.add_argument("--base", type=Path, help="another checkout")
    parser.add_argument("--database", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    chosen = parser.parse_args()
    with ExitStack() as stack:
        superuser = stack.enter_context(server()) if "postgresql" in chosen.database else ""
        for database in chosen.database:
            base = _measure(chosen.base, superuser, database) if chosen.base else {}
            print(markdown(database, _measure(ROOT, superuser, database), base), flush=True)


def _measure(checkout: Path, superuser: str, database: str) -> Figures:
    """Measure all requests with the application of a checkout on an empty database."""
    with _database(superuser, database) as traffic:
        command = [sys.executable, str(Path(__file__).with_name("bulk_requests.py")), traffic.url]
        with subprocess.Popen(
            command,
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        ) as child:
            return dict(_receive(child, traffic))


def _receive(child: subprocess.Popen[str], traffic: Traffic) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the figures that the child prints, with the round trips since the last ones."""
    assert child.stdout
    assert child.stdin
    before = 0
    for line in child.stdout:
        figures = json.loads(line)
        yield figures.pop("name"), {**figures, "round_trips": traffic.round_trips - before}
        before = traffic.round_trips
        child.stdin.write("\n")
        child.stdin.flush()


@contextmanager
def _database(superuser: str, database: str) -> Iterator[Traffic]:
    """Create and migrate an empty database; on PostgreSQL it is reached through a relay that counts."""
    if database == "sqlite":
        with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
            url = f"sqlite:///{folder}/taskapi.db"
            migrate(url)
            yield Traffic(url)
    else:
        with new_database(superuser) as url:
            migrate(url)
            with relay(url) as traffic:
                yield traffic


def markdown(database: str, figures: Figures, base: Figures) -> str:
    """Return the table of one database."""
    lines = [
        f"| {database} | CPU (s) | base | ratio | lock, CPU (ms) | round trips | base | peak (MB) | limit | met |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, measured in figures.items():
        before = base.get(name)
        limit, met = _verdict(name, figures, database)
        cells = (
            *(name, f"{measured['cpu']:.3f}", f"{before['cpu']:.3f}" if before else ""),
            f"{measured['cpu'] / before['cpu']:.2f}" if before and before["cpu"] > 0.001 else "",
            f"{measured['lock'] * 1000:.0f}" if database == "sqlite" else "",
            *((f"{each['round_trips']:.0f}" if each and database != "sqlite" else "") for each in (measured, before)),
            *(f"{measured['memory']:.0f}", limit, "" if met is None else "yes" if met else "**no**"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _verdict(name: str, figures: Figures, database: str) -> tuple[str, bool | None]:
    """Return the limit of a request, and whether it is met; None without a limit."""
    measured = figures[name]
    if name in MAX_CPU:
        return f"{MAX_CPU[name]} s", measured["cpu"] <= MAX_CPU[name]
    if name == "import, changed":
        ratio = measured["cpu"] / figures["import, new"]["cpu"]
        limit = f"{MAX_CHANGED_RATIO} times new, lock {MAX_LOCK * 1000:.0f} ms"
        return limit, ratio <= MAX_CHANGED_RATIO and measured["lock"] <= MAX_LOCK
    if name in ("import, new", "import, renumbered"):
        return f"lock {MAX_LOCK * 1000:.0f} ms", measured["lock"] <= MAX_LOCK
    if name.startswith("batch") and database != "sqlite":
        return f"{MAX_ROUND_TRIPS} round trips", measured["round_trips"] <= MAX_ROUND_TRIPS
    return "", None


if __name__ == "__main__":
    main()
