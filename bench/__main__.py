"""`make bench`: everyone beside everyone, one table, and a verdict for each target."""

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

from . import contestants, measure, report, size
from .contestants import ALONE, EVERYONE, TASKAPI, Contestant, Running, memory, serve
from .database import embedded_database, peers_database, postmaster, server, taskapi_database
from .wire import relay
from .workloads import WORKLOADS, Workload

PAGE = contestants.ROOT / "docs" / "performance.md"
PLOT = contestants.ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- last full run -->\n", "<!-- end of the run -->\n"

PACE = {"quick": (5, 0.15, 1, 1), "full": (15, 0.5, 3, 6)}
"""Rounds, seconds of a slice, requests of a connection in it at least, and how often everybody is started."""

CLOSE = 15
"""Rounds, at least, where what is compared is nearly the same: fewer tell nothing."""


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes; no table of ten million")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in EVERYONE], metavar="CONTESTANT")
    parser.add_argument("--workload", nargs="+", choices=[each.name for each in WORKLOADS])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--write", action="store_true", help="put the run into docs/performance.md")
    parser.add_argument("--json", type=Path, help="a file for all that was measured")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("make bench needs wrk: install the package `wrk` of your system.")
    began = time.monotonic()
    run = _run(chosen)
    print(report.markdown(run))
    print(f"{time.monotonic() - began:.0f} s in all")
    _keep(run, chosen)


def _keep(run: report.Report, chosen: argparse.Namespace) -> None:
    if chosen.json:
        chosen.json.write_text(json.dumps(measure.as_json(run.measured), indent=1))
    if chosen.write:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + report.markdown(run) + "\n" + END + rest.partition(END)[2])
        PLOT.write_text(report.plot(run))


def _run(chosen: argparse.Namespace) -> report.Report:
    rounds, seconds, least, starts = PACE["quick" if chosen.quick else "full"]
    rounds = chosen.rounds or rounds
    workloads = [each for each in WORKLOADS if not chosen.workload or each.name in chosen.workload]
    invited = [each for each in EVERYONE if not chosen.only or each.name in chosen.only]
    with ExitStack() as stack:
        superuser = stack.enter_context(server())
        _say("filling the databases")
        urls = {"peers": stack.enter_context(peers_database(superuser))}
        urls["taskapi"] = stack.enter_context(taskapi_database(superuser))
        urls["embedded"] = stack.enter_context(embedded_database())

        def start(contestant: Contestant) -> Running:
            _say(f"starting {contestant.title}")
            return stack.enter_context(serve(contestant, urls[contestant.database]))

        started: dict[str, list[float]] = {each.name: [] for each in invited}
        for turn in range(starts - 1):
            for each in invited:
                _say(f"starting {each.title}")
                with serve(each, urls[each.database]) as running:
                    started[each.name] += [running.seconds_to_answer] if turn else []  # its files are in memory then
        everyone = [start(each) for each in invited]
        for running in everyone:
            started[running.contestant.name].append(running.seconds_to_answer)
        pace = measure.Pace(rounds, seconds, least, postmaster(superuser))
        measured = measure.interleave(everyone, workloads, pace, _say)
        used = {each.contestant.name: max(map(memory, each.workers), key=lambda sizes: sizes[1]) for each in everyone}
        _count(invited, urls, measured, workloads)
        found = report.Report(_machine(superuser), measured, used, started)
        if TASKAPI in invited:
            alone = start(ALONE)
            two = next(each for each in everyone if each.contestant is TASKAPI)
            close = replace(pace, rounds=max(rounds, CLOSE))
            found.polls = measure.compare(two, workloads, [("poll20", "list20"), ("poll1000", "list1000")], close, _say)
            some = [each for each in workloads if each.name in ("list20", "toggle")]
            found.scaling = measure.interleave([two, alone], some, close, _say)
        if not chosen.quick and TASKAPI in invited:
            _keep(found, chosen)  # what comes now takes long
            found.size = size.compare(superuser, urls["taskapi"], pace, _say)
        return found


def _count(
    invited: list[Contestant], urls: dict[str, str], measured: measure.Measured, workloads: list[Workload]
) -> None:
    for contestant in invited:
        if contestant.database == "embedded":
            continue
        _say(f"counting the statements of {contestant.title}")
        with relay(urls[contestant.database]) as wire, serve(contestants.single(contestant), wire.url) as running:
            measure.count(running, wire, measured, workloads)


def _machine(superuser: str) -> list[str]:
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
