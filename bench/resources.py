"""Measure memory and processor time of gunicorn with two workers on PostgreSQL (`python -m bench.resources`).

docs/deployment.md has the figures, and deploy/kubernetes/base/api.yaml the requests and limits that follow from them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import migrate
from tests.postgres import new_database

from . import bulk_requests
from .contestants import TASKAPI, Running, cpu, memory, serve, spent_since
from .database import server, user
from .workloads import NEW_TASK

CLIENTS = 16
REQUESTS = 4_000
IMPORTS = 4
"""Concurrent imports of 10,000 tasks by different users: as many as two workers accept (1 per user, 2 per worker)."""
SAMPLE_INTERVAL = 0.02
"""Seconds between two readings of the memory during the imports."""


def main() -> None:
    """Print a row for each state of the pod."""
    with server() as superuser, new_database(superuser) as url:
        migrate(url)
        with serve(TASKAPI, url) as running:
            print(f"{'state':45} {'PSS of all, MiB':>15} {'largest RSS, MiB':>16} {'CPU, µs/request':>15}")
            _row("after the start", running)
            created = _cpu_per_request(running, lambda number: _create(running, number))
            _row(f"after {REQUESTS} creations by {CLIENTS} clients", running, created)
            listed = _cpu_per_request(running, lambda number: _list(running, number))
            _row(f"after {REQUESTS} lists of 20", running, listed)
            pss, rss = _peak(running, lambda: _import(running))
            print(f"{f'peak during {IMPORTS} imports of 10,000 tasks each':45} {pss:15.0f} {rss:16.0f}")
            _row("after them", running)


def _row(state: str, running: Running, per_request: float | None = None) -> None:
    pss, rss = _memory(running)
    cost = "" if per_request is None else f"{per_request:15.0f}"
    print(f"{state:45} {pss:15.0f} {rss:16.0f} {cost}", flush=True)


def _pids(running: Running) -> list[int]:
    return [running.master.pid, *running.workers]


def _memory(running: Running) -> tuple[float, float]:
    """Return the proportional set size of all processes, which is what a cgroup counts, and the largest RSS."""
    sizes = [memory(pid) for pid in _pids(running)]
    return sum(pss for pss, _ in sizes), max(rss for _, rss in sizes)


def _cpu_per_request(running: Running, send: Callable[[int], None]) -> float:
    """Return the processor time of the service per request in microseconds, each on its own connection."""
    before = cpu(_pids(running))
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(send, range(REQUESTS)))
    return spent_since(before, cpu(_pids(running))) / REQUESTS


def _create(running: Running, number: int) -> None:
    status, *_ = running.request("POST", number % CLIENTS, "/tasks", body=json.dumps(NEW_TASK))
    assert status == 201, status


def _list(running: Running, number: int) -> None:
    status, *_ = running.request("GET", number % CLIENTS, "/tasks?limit=20")
    assert status == 200, status


def _import(running: Running) -> None:
    """Send the imports at the same time, each of another user."""

    def send(number: int) -> None:
        body = json.dumps({"tasks": bulk_requests.tasks("Imported", user(number))})
        # 503 while this worker has two others in progress: the kernel chooses the worker of a connection.
        while (status := running.request("POST", number, "/import", body=body)[0]) == 503:
            time.sleep(SAMPLE_INTERVAL)
        assert status == 200, status

    with ThreadPoolExecutor(IMPORTS) as clients:
        list(clients.map(send, range(CLIENTS, CLIENTS + IMPORTS)))


def _peak(running: Running, work: Callable[[], None]) -> tuple[float, float]:
    """Return the largest memory of the processes while `work` runs in another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    peak = _memory(running)
    while thread.is_alive():
        time.sleep(SAMPLE_INTERVAL)
        now = _memory(running)
        peak = max(peak[0], now[0]), max(peak[1], now[1])
    thread.join()
    return peak


if __name__ == "__main__":
    main()
