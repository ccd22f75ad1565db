"""`make bench`: measure all contestants at all workloads and print tables, ratios and a verdict for each target."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import psycopg

from . import contestants, latency, measure, report, size
from .contestants import ALONE, EVERYONE, TASKAPI, Contestant, Running, memory, serve
from .database import embedded_database, peers_database, postmaster, server, taskapi_database
from .wire import relay
from .workloads import WORKLOADS, Workload

PAGE = contestants.ROOT / "docs" / "performance.md"
PLOT = contestants.ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- last full run -->\n", "<!-- end of the run -->\n"

PACE = {"quick": (5, 0.15, 1, 1), "full": (15, 0.5, 3, 6)}
"""Number of rounds, seconds per slice, minimum requests per connection in a slice, and starts of each contestant."""

MIN_CLOSE_ROUNDS = 15
"""Minimum number of rounds for comparisons of nearly equal figures; fewer give no significant result."""


def main() -> None:
    """Parse the options, run the benchmark, print the report and save it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short slices; no table of ten million")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in EVERYONE], metavar="CONTESTANT")
    parser.add_argument("--workload", nargs="+", choices=[each.name for each in WORKLOADS])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--write", action="store_true", help="write the report into docs/performance.md")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("make bench needs wrk: install the package `wrk` of your system.")
    start_time = time.monotonic()
    run = _run(options)
    print(report.markdown(run))
    print(f"{time.monotonic() - start_time:.0f} s in total")
    _save(run, options)


def _save(run: report.Report, options: argparse.Namespace) -> None:
    """Write the measurements as JSON, and the report and its plot into docs/, as the options say."""
    if options.json:
        options.json.write_text(json.dumps(measure.as_json(run.measured), indent=1))
    if options.write:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + report.markdown(run) + "\n" + END + rest.partition(END)[2])
        PLOT.write_text(report.plot(run))


def _run(options: argparse.Namespace) -> report.Report:
    """Start the databases and servers, and measure starts, workloads, polls, scaling and table size."""
    rounds, seconds, min_requests, starts = PACE["quick" if options.quick else "full"]
    rounds = options.rounds or rounds
    workloads = [each for each in WORKLOADS if not options.workload or each.name in options.workload]
    selected = [each for each in EVERYONE if not options.only or each.name in options.only]
    with ExitStack() as stack:
        superuser = stack.enter_context(server())
        _log("filling the databases")
        urls = {"peers": stack.enter_context(peers_database(superuser))}
        urls["taskapi"] = stack.enter_context(taskapi_database(superuser))
        urls["embedded"] = stack.enter_context(embedded_database())

        def start(contestant: Contestant) -> Running:
            """Start a contestant, which runs until the end of the benchmark."""
            _log(f"starting {contestant.title}")
            return stack.enter_context(serve(contestant, urls[contestant.database]))

        start_seconds: dict[str, list[float]] = {each.name: [] for each in selected}
        for attempt in range(starts - 1):
            for each in selected:
                _log(f"starting {each.title}")
                with serve(each, urls[each.database]) as running:
                    if attempt:  # ignore the first start, which reads its files from disk
                        start_seconds[each.name].append(running.seconds_to_first_response)
        servers = [start(each) for each in selected]
        for running in servers:
            start_seconds[running.contestant.name].append(running.seconds_to_first_response)
        pace = measure.Pace(rounds, seconds, min_requests, postmaster(superuser))
        measured = measure.interleave(servers, workloads, pace, _log)
        latencies = latency.measure(servers, workloads, pace, _log)
        memory_by_name = {
            each.contestant.name: max(map(memory, each.workers), key=lambda sizes: sizes[1]) for each in servers
        }
        _count(selected, urls, measured, workloads)
        result = report.Report(_machine_description(superuser), measured, memory_by_name, start_seconds, latencies)
        if TASKAPI in selected:
            one_worker = start(ALONE)
            two_workers = next(each for each in servers if each.contestant is TASKAPI)
            close_pace = replace(pace, rounds=max(rounds, MIN_CLOSE_ROUNDS))
            result.polls = measure.compare(
                two_workers, workloads, [("poll20", "list20"), ("poll1000", "list1000")], close_pace, _log
            )
            scaling_workloads = [each for each in workloads if each.name in ("list20", "toggle")]
            result.scaling = measure.interleave([two_workers, one_worker], scaling_workloads, close_pace, _log)
        if not options.quick and TASKAPI in selected:
            _save(result, options)  # save now: the next measurement takes long
            result.size = size.compare(superuser, urls["taskapi"], pace, _log)
        return result


def _count(
    selected: list[Contestant], urls: dict[str, str], measured: measure.Measured, workloads: list[Workload]
) -> None:
    """Count the SQL statements and round trips per request of each contestant, through a relay to PostgreSQL."""
    for contestant in selected:
        if contestant.database == "embedded":
            continue
        _log(f"counting the statements of {contestant.title}")
        with relay(urls[contestant.database]) as traffic, serve(contestants.single(contestant), traffic.url) as running:
            measure.count(running, traffic, measured, workloads)


def _machine_description(superuser: str) -> list[str]:
    """Return lines about the CPU, the kernel, the runtimes and the versions of the packages."""
    with psycopg.connect(superuser) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ("flask", "gunicorn", "gevent", "psycopg", "sqlalchemy", "marshmallow", "pyjwt", "orjson")
    node = shutil.which("node")
    return [
        f"{os.cpu_count()} × {model}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}",
        f"Python {platform.python_version()}, PostgreSQL {row[0] if row else '?'}, Node.js "
        + (
            subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
            if node
            else "-"
        ),
        ", ".join(f"{name} {version(name)}" for name in packages),
    ]


def _log(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
