"""`python -m bench.bytecodes list20`: count the Python bytecodes that a request executes, by function.

Most of a request's time is spent in the interpreter. Times vary on a shared machine; this count is reproducible.
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

from tests.ports import reserved_port

from .contestants import ROOT, TASKAPI, Running, serve, single
from .database import server, taskapi_database
from .measure import prepare_request
from .workloads import WORKLOADS, Workload

WARMUP_REQUESTS, COUNTED_REQUESTS = 20, 21
"""Number of requests before counting starts, and of those counted. bench/counting.py counts on `X-Count`."""


def main() -> None:
    """Parse the options, start a server that counts bytecodes, and print the counts of the workloads."""
    parser = argparse.ArgumentParser(prog="python -m bench.bytecodes", description=__doc__)
    workloads = [each for each in WORKLOADS if not each.session]
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD", help=", ".join(each.name for each in workloads))
    parser.add_argument("--top", type=int, default=0, help="how many functions to list")
    parser.add_argument("--metrics", action="store_true", help="with METRICS_PORT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder, server() as superuser, reserved_port() as port:
        counts = Path(folder) / "counts.json"
        config = ("--config", "python:bench.counting", "--access-logfile", "/dev/null", "wsgi:app")
        counting = replace(
            single(TASKAPI),
            command=(TASKAPI.command[0], *config),
            environ={**TASKAPI.environ, "COUNTS": str(counts), "METRICS_PORT": str(port) if options.metrics else ""},
        )
        with taskapi_database(superuser) as url, serve(counting, url) as running:
            for workload in workloads:
                if not options.workload or workload.name in options.workload:
                    _print(workload, _count(running, workload, counts), options.top)


def _count(running: Running, workload: Workload, counts: Path) -> Counter[tuple[str, str]]:
    """Return the bytecodes by (file, function) of the request with the median total.

    The median, because the worker has additional work in one request per second.
    """
    step = workload.plans[0][0]
    request: dict[str, Any] = prepare_request(running, step, {})
    with closing(http.client.HTTPConnection("127.0.0.1", running.port)) as connection:
        for number in range(WARMUP_REQUESTS + COUNTED_REQUESTS + 1):
            command = {WARMUP_REQUESTS: "begin", WARMUP_REQUESTS + COUNTED_REQUESTS: "end"}.get(number)
            headers = {**request["headers"], **({"X-Count": command} if command else {})}
            connection.request(request["method"], request["path"], request["body"], headers)
            response = connection.getresponse()
            response.read()
            if response.status >= 400:
                raise RuntimeError(f"{workload.name}: response {response.status}")
    requests = [
        Counter({(file, function): count for file, function, count in request})
        for request in json.loads(counts.read_text())
    ]
    return sorted(requests, key=Counter.total)[COUNTED_REQUESTS // 2]


def _print(workload: Workload, counts_by_function: Counter[tuple[str, str]], top: int) -> None:
    """Print the total of a workload and its `top` functions."""
    print(f"{counts_by_function.total():8,}  {workload.title}")
    for (file, function), count in counts_by_function.most_common(top):
        short = file.partition("site-packages/")[2] or file.removeprefix(f"{ROOT}/")
        print(f"{count:14,}  {short} {function}")


if __name__ == "__main__":
    main()
