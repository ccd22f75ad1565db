"""Measure how other clients are served, and how much memory the workers use, while an attack runs."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests.chaos.service import CLIENT_TIMEOUT, Service
from tests.conftest import token
from tests.gunicorn_server import ROOT

USER = "neighbor"
PATHS = {"healthz": "/healthz", "list": f"/api/{USER}/tasks?limit=20"}

P99_LIMIT, MEMORY_LIMIT = 100, 50
"""Limits of what an attack may cost other clients: milliseconds at the 99th percentile, and megabytes of all workers."""

Attack = Callable[[threading.Event], Mapping[str, Any] | None]
"""Attack until the event is set, and return figures to keep. It runs in a thread."""


def probe_other_clients(
    running: Service, seconds: float, attack: Attack, *, quiet: float = 3, **tokens: str
) -> dict[str, Any]:
    """Probe `/healthz` and a list of 20 tasks for `seconds` while `attack` runs; return the figures.

    First probe for `quiet` seconds without an attack: this also warms up the workers. Times are milliseconds.
    `memory_growth_mb` is the maximum resident memory of the workers during the attack minus that before it,
    `workers_replaced` the number of workers that the master killed or lost. The probes use an HS256 token; further
    `tokens` of the same user are probed at the same time, and their figures are under their names.
    """
    _add_tasks(running)
    tokens = {"default": token(USER), **tokens}
    before_attack = _probe(running, quiet, tokens)["default"]
    workers = running.workers()
    resident = _memory(workers, "VmRSS")
    for worker in workers:
        with suppress(OSError):
            Path(f"/proc/{worker}/clear_refs").write_text("5")  # resets VmHWM, the maximum resident memory
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(attack, over)
        try:
            probed = _probe(running, seconds, tokens)
            growth = _memory(workers, "VmHWM") - resident
            replaced = len(set(workers) - set(running.workers()))
        finally:
            over.set()
        attack_figures = attacking.result(4 * CLIENT_TIMEOUT) or {}
    return {
        **attack_figures,
        **probed.pop("default"),
        **probed,
        "quiet": before_attack,
        "memory_growth_mb": round(growth, 1),
        "workers_replaced": replaced,
    }


def assert_other_clients_fast(figures: Mapping[str, Any]) -> None:
    """Assert the limits of `make chaos`; the short runs in tests/faults only assert `assert_other_clients_served`."""
    assert_other_clients_served(figures)
    for kind in PATHS:
        assert figures[f"{kind}_p99_ms"] < P99_LIMIT, figures
    assert figures["memory_growth_mb"] < MEMORY_LIMIT, figures


def assert_other_clients_served(figures: Mapping[str, Any]) -> None:
    """Assert what does not depend on the speed of the machine: 200 for every probe, and no worker was replaced."""
    assert set(figures["outcomes"]) == {"200"}, figures
    assert figures["workers_replaced"] == 0, figures


def _add_tasks(running: Service) -> None:
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    operations = [{"op": "create", "task": {"title": f"Task {number}"}} for number in range(20)]
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=CLIENT_TIMEOUT)) as connection:
        connection.request("POST", f"/api/{USER}/tasks/batch", json.dumps({"operations": operations}), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()


def _memory(workers: list[int], name: str) -> float:
    """Return the sum over all workers of a memory figure of /proc/<pid>/status, in megabytes; 0 for an ended worker."""
    total = 0
    for worker in workers:
        with suppress(OSError):
            lines = Path(f"/proc/{worker}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return total / 1024


def _probe(running: Service, seconds: float, tokens: Mapping[str, str]) -> dict[str, Any]:
    """Run `tests.chaos.probe`; return the figures of each token."""
    command = [sys.executable, "-m", "tests.chaos.probe", str(running.port), str(seconds)]
    request = json.dumps({"paths": PATHS, "tokens": tokens})
    limit = seconds + 4 * CLIENT_TIMEOUT
    process = subprocess.run(
        command, cwd=ROOT, input=request, stdout=subprocess.PIPE, text=True, check=True, timeout=limit
    )
    figures: dict[str, Any] = json.loads(process.stdout)
    return figures
