"""Measure how fast other users are served: a list of 20 twenty times a second, and a new task ten times a second.

`python -m bench.probes PORT SECONDS` runs in a process of its own and prints milliseconds as JSON. Requests are due at
fixed times (open loop): a request that is late because the one before it took long counts from when it was due, so that
a service that stops answering is not measured less often (no coordinated omission).
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter

from .workloads import token

NEIGHBORS = tuple(f"neighbor{number}" for number in range(4))
"""The other users; together they stay within the default rate limit."""

INTERVALS = {"read": 0.05, "write": 0.1}
"""Seconds between two requests of each kind."""

TIMEOUT = 60
"""Seconds to wait for a response."""


class _Probe(threading.Thread):
    """Sends one kind of request at fixed times on a connection of its own."""

    def __init__(self, port: int, kind: str, seconds: float) -> None:
        super().__init__()
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._kind, self._seconds = kind, seconds
        self.milliseconds: list[float] = []
        self.statuses: Counter[str] = Counter()

    def run(self) -> None:
        begin, interval = time.monotonic(), INTERVALS[self._kind]
        for number in range(int(self._seconds / interval)):
            due = begin + number * interval
            time.sleep(max(0.0, due - time.monotonic()))
            self.statuses[self._send(NEIGHBORS[number % len(NEIGHBORS)])] += 1
            self.milliseconds.append(1000 * (time.monotonic() - due))
        self._http.close()

    def _send(self, user: str) -> str:
        headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"}
        try:
            if self._kind == "read":
                self._http.request("GET", f"/api/{user}/tasks?limit=20", headers=headers)
            else:
                self._http.request("POST", f"/api/{user}/tasks", '{"title": "Water the plants"}', headers)
            response = self._http.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            return type(error).__name__
        return str(response.status)


def percentile(values: list[float], part: float) -> float:
    """Return the value that this part (0 to 1) of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main(port: str, seconds: str) -> None:
    """Probe for so many seconds and print the figures."""
    probes = {kind: _Probe(int(port), kind, float(seconds)) for kind in INTERVALS}
    for probe in probes.values():
        probe.start()
    for probe in probes.values():
        probe.join()
    figures = {
        kind: {
            "p50": percentile(probe.milliseconds, 0.5),
            "p99": percentile(probe.milliseconds, 0.99),
            "statuses": probe.statuses,
        }
        for kind, probe in probes.items()
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
