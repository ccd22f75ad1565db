"""Measure response times of a running service from a separate process: `python -m tests.chaos.probe PORT SECONDS`.

The process is separate because in the process of an attack the probes would wait for the threads of the attack. Standard
input is JSON: `{"paths": {kind: path}, "tokens": {name: bearer token}}`. This module imports only the standard library:
importing the service takes over a second of CPU.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

INTERVAL = 0.05
"""Seconds between two requests of a probe."""

TIMEOUT = 60
"""Seconds that a probe waits for a response."""

PERCENTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class Probe(threading.Thread):
    """Request one path at fixed times over one connection; a request that starts late counts as a slow one."""

    def __init__(self, port: int, path: str, bearer: str, seconds: float) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._path, self._headers, self._seconds = path, {"Authorization": f"Bearer {bearer}"}, seconds
        self.outcomes: Counter[str] = Counter()
        """Number of requests by status, or by the name of the exception."""
        self.durations: list[float] = []
        """Milliseconds from the scheduled start of each request to the end of its response."""
        self.response_times: list[float] = []
        """Milliseconds from sending each request; a machine that is too slow for the schedule does not add up here."""

    def run(self) -> None:
        """Send the requests of `seconds` seconds."""
        begin = time.monotonic()
        for number in range(int(self._seconds / INTERVAL)):
            scheduled = begin + number * INTERVAL
            time.sleep(max(0.0, scheduled - time.monotonic()))
            sent = time.monotonic()
            self.outcomes[self._get()] += 1
            ended = time.monotonic()
            self.durations.append(1000 * (ended - scheduled))
            self.response_times.append(1000 * (ended - sent))
        self._connection.close()

    def _get(self) -> str:
        try:
            self._connection.request("GET", self._path, headers=self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return type(error).__name__
        return str(response.status)

    def figures(self) -> dict[str, float]:
        """Return percentiles of the durations and the median response time, in milliseconds."""
        durations = sorted(self.durations)
        figures = {
            f"{name}_ms": durations[min(len(durations) - 1, int(len(durations) * part))]
            for name, part in PERCENTILES.items()
        }
        figures["response_p50_ms"] = statistics.median(self.response_times)
        return {name: round(value, 1) for name, value in figures.items()}


def measure(port: int, path_of: dict[str, str], bearer: str, seconds: float) -> Callable[[], dict[str, Any]]:
    """Start one probe for each kind of path with a token; the returned function waits and returns the figures."""
    probes = {kind: Probe(port, path, bearer, seconds) for kind, path in path_of.items()}
    for probe in probes.values():
        probe.start()

    def wait() -> dict[str, Any]:
        for probe in probes.values():
            probe.join()
        figures: dict[str, Any] = {"outcomes": sum((probe.outcomes for probe in probes.values()), Counter())}
        for kind, probe in probes.items():
            figures |= {f"{kind}_{name}": value for name, value in probe.figures().items()}
        return figures

    return wait


def main(port: str, seconds: str) -> None:
    """Measure all paths with all tokens at the same time; print the figures of each token as JSON."""
    request = json.load(sys.stdin)
    waiting = {
        name: measure(int(port), request["paths"], bearer, float(seconds)) for name, bearer in request["tokens"].items()
    }
    print(json.dumps({name: wait() for name, wait in waiting.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
