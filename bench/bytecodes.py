"""`python -m bench.bytecodes list20`: how many bytecodes of Python a request is, and in which functions.

Most of a request's time is the interpreter's. Time is noise on a shared machine; this count is the same each time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from .contestants import ROOT, TASKAPI, Running, serve, single
from .database import server, taskapi_database
from .measure import prepare_request
from .workloads import WORKLOADS, Workload

WARM, COUNTED = 20, 21
"""Requests before it counts, and those that are counted; bench/counting.py heeds the word."""


def main() -> None:
    """Count what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.bytecodes", description=__doc__)
    single_steps = [each for each in WORKLOADS if not each.session]
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD", help=", ".join(each.name for each in single_steps))
    parser.add_argument("--top", type=int, default=0, help="how many functions to list")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder, server() as superuser:
        counts = Path(folder) / "counts.json"
        config = ("--config", "python:bench.counting", "--access-logfile", "/dev/null", "wsgi:app")
        counting = replace(
            single(TASKAPI),
            command=(TASKAPI.command[0], *config),
            environ={**TASKAPI.environ, "COUNTS": str(counts)},
        )
        with taskapi_database(superuser) as url, serve(counting, url) as running:
            for workload in single_steps:
                if not chosen.workload or workload.name in chosen.workload:
                    _print(workload, _count(running, workload, counts), chosen.top)


def _count(running: Running, workload: Workload, counts: Path) -> Counter[tuple[str, str]]:
    """How many bytecodes of each function a request is: the middle one, for once a second one more is done."""
    step = workload.plans[0][0]
    request: dict[str, Any] = prepare_request(running, step, {})
    with closing(http.client.HTTPConnection("127.0.0.1", running.port)) as connection:
        for number in range(WARM + COUNTED + 1):
            word = {WARM: "begin", WARM + COUNTED: "end"}.get(number)
            headers = {**request["headers"], **({"X-Count": word} if word else {})}
            connection.request(request["method"], request["path"], request["body"], headers)
            response = connection.getresponse()
            response.read()
            if response.status >= 400:
                raise RuntimeError(f"{workload.name} is answered {response.status}")
    requests = [
        Counter({(file, function): count for file, function, count in request})
        for request in json.loads(counts.read_text())
    ]
    return sorted(requests, key=Counter.total)[COUNTED // 2]


def _print(workload: Workload, found: Counter[tuple[str, str]], top: int) -> None:
    print(f"{found.total():8,}  {workload.title}")
    for (file, function), count in found.most_common(top):
        short = file.partition("site-packages/")[2] or file.removeprefix(f"{ROOT}/")
        print(f"{count:14,}  {short} {function}")


if __name__ == "__main__":
    main()
