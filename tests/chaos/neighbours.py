"""Measure how other clients are served, and how much memory the workers take, while an attack runs.

The probes run in a process of their own (`python -m tests.chaos.neighbours PORT TOKEN SECONDS`): in the process of
the attack they would wait for its threads, and the figures would be the attacker's.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests.chaos.service import PATIENCE, Service
from tests.conftest import token
from tests.gunicorn_server import ROOT

USER = "neighbor"
PATHS = {"healthz": "/healthz", "list": f"/api/{USER}/tasks?limit=20"}
INTERVAL = 0.05
"""Seconds between two requests of a probe, each kind on a connection of its own that is kept open."""

QUIET = 3.0
"""Seconds for which the same is measured before the attack: this also warms the workers up."""

P99_LIMIT, MEMORY_LIMIT = 100, 50
"""What an attack may cost another client: milliseconds at the 99th percentile, and megabytes of all workers."""

Attack = Callable[[threading.Event], Mapping[str, Any] | None]
"""Attacks until the event is set; the figures that it returns are kept. It runs in a thread."""


def probe_neighbours(running: Service, seconds: float, attack: Attack) -> dict[str, Any]:
    """Probe `/healthz` and a list of 20 for `seconds` while `attack` runs; the figures, also those without an attack.

    Times are milliseconds. `memory_growth_mb` is the highest resident memory of the workers during the attack less
    that before it, `workers_replaced` how many workers the master has killed or lost.
    """
    _add_tasks(running)
    quiet = _probe(running, QUIET)
    workers = running.workers()
    before = _memory(workers, "VmRSS")
    for worker in workers:
        with suppress(OSError):
            Path(f"/proc/{worker}/clear_refs").write_text("5")  # resets VmHWM, the highest resident memory so far
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(attack, over)
        try:
            probed = _probe(running, seconds)
            growth = _memory(workers, "VmHWM") - before
            replaced = len(set(workers) - set(running.workers()))
        finally:
            over.set()
        said = attacking.result(4 * PATIENCE) or {}
    return {
        **said,
        **probed,
        "quiet": quiet,
        "memory_growth_mb": round(growth, 1),
        "workers_replaced": replaced,
    }


def assert_neighbours_served(figures: Mapping[str, Any]) -> None:
    """Assert the limits that `make chaos` promises; the short runs in tests/faults assert `assert_neighbours_answered`."""
    assert_neighbours_answered(figures)
    for kind in PATHS:
        assert figures[f"{kind}_p99_ms"] < P99_LIMIT, figures
    assert figures["memory_growth_mb"] < MEMORY_LIMIT, figures


def assert_neighbours_answered(figures: Mapping[str, Any]) -> None:
    """Assert what does not depend on the speed of the machine: every probe got 200, from the same workers."""
    assert set(figures["outcomes"]) == {"200"}, figures
    assert figures["workers_replaced"] == 0, figures


def _add_tasks(running: Service) -> None:
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
        for number in range(20):
            connection.request("POST", f"/api/{USER}/tasks", json.dumps({"title": f"Task {number}"}), headers)
            response = connection.getresponse()
            assert response.status == 201, response.read()
            response.read()


def _memory(workers: list[int], name: str) -> float:
    """A memory figure of /proc/<pid>/status, in megabytes, of all workers; one that is gone counts as nothing."""
    total = 0
    for worker in workers:
        with suppress(OSError):
            lines = Path(f"/proc/{worker}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return total / 1024


def _probe(running: Service, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.chaos.neighbours", str(running.port), token(USER), str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 4 * PATIENCE
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


class _Probe(threading.Thread):
    """Ask one path at fixed times; a time that has passed while an answer was late counts as late, too."""

    def __init__(self, port: int, path: str, bearer: str, seconds: float) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._path, self._headers, self._seconds = path, {"Authorization": f"Bearer {bearer}"}, seconds
        self.outcomes: Counter[str] = Counter()
        self.took: list[float] = []

    def run(self) -> None:
        begin = time.monotonic()
        for number in range(int(self._seconds / INTERVAL)):
            due = begin + number * INTERVAL
            time.sleep(max(0.0, due - time.monotonic()))
            self.outcomes[self._ask()] += 1
            self.took.append(1000 * (time.monotonic() - due))
        self._connection.close()

    def _ask(self) -> str:
        try:
            self._connection.request("GET", self._path, headers=self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return type(error).__name__
        return str(response.status)

    def percentile(self, part: float) -> float:
        return round(sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * part))], 1)


def _main(port: str, bearer: str, seconds: str) -> None:
    probes = {kind: _Probe(int(port), path, bearer, float(seconds)) for kind, path in PATHS.items()}
    for probe in probes.values():
        probe.start()
    for probe in probes.values():
        probe.join()
    figures: dict[str, Any] = {"outcomes": sum((probe.outcomes for probe in probes.values()), Counter())}
    for kind, probe in probes.items():
        figures |= {f"{kind}_{name}_ms": probe.percentile(part) for name, part in PARTS.items()}
    print(json.dumps(figures))


PARTS = {"p50": 0.5, "p99": 0.99, "max": 1.0}

if __name__ == "__main__":
    _main(*sys.argv[1:])
