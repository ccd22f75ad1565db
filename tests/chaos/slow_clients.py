"""Clients that send slowly, never read or never close, and how other clients are served meanwhile."""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.failures import LOAD_ALLOWANCE
from tests.chaos.service import CLIENT_TIMEOUT, Service
from tests.conftest import token

HEAD = b"GET /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
)
ENDLESS_BODY = b"POST /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"


@dataclass
class SlowClient:
    """A connection on which one part of a request was sent; times are seconds of the monotonic clock."""

    kind: str
    connection: socket.socket
    opened: float
    closed: float = math.inf

    def check_closed(self) -> None:
        """Record the time if the server has closed the connection; discard a response that arrived before."""
        try:
            while self.connection.recv(4096):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self.closed = time.monotonic()
        self.connection.close()

    def send_byte(self) -> None:
        """Send one more byte of the request."""
        try:
            self.connection.send(b"x")
        except OSError:
            self.check_closed()


@dataclass
class ResponseTimes:
    """Statuses and durations in seconds of the requests of other clients."""

    outcomes: Counter[str | int] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)

    def measure(self, running: Service, path: str, bearer: str | None = None) -> None:
        """Send one GET request and record its outcome."""
        began = time.monotonic()
        try:
            self.outcomes[running.get(path, bearer).status] += 1
        except (OSError, http.client.HTTPException) as error:
            self.outcomes[type(error).__name__] += 1
        self.durations.append(time.monotonic() - began)

    def percentile(self, part: float) -> float:
        """Return a percentile of the durations; `part` is between 0 and 1."""
        return round(sorted(self.durations)[int(len(self.durations) * part)], 3)

    def figures(self) -> dict[str, Any]:
        """Return the outcomes and the slowest request."""
        outcomes = {str(outcome): count for outcome, count in self.outcomes.items()}
        return {"probes": outcomes, "probe_max_s": self.percentile(1 - 1e-9)}


def serve_beside_slow_clients(
    running: Service, *, heads: int, bodies: int, silent: int, within: float
) -> dict[str, Any]:
    """Open connections that send one byte per second, or none; all must be closed `within` seconds, others served."""
    bearer, probes, stopping = token("quick"), ResponseTimes(), threading.Event()

    def probe() -> None:
        while not stopping.is_set():
            probes.measure(running, "/api/quick/tasks", bearer)
            time.sleep(0.05)

    clients = [
        *_open(running, "head", heads, HEAD),
        *_open(running, "body", bodies, BODY % token("slow").encode()),
        *_open(running, "silent", silent, b""),
    ]
    prober = threading.Thread(target=probe)
    prober.start()
    try:
        deadline = time.monotonic() + within + CLIENT_TIMEOUT
        while (left := [client for client in clients if client.closed == math.inf]) and time.monotonic() < deadline:
            for client in left:
                client.check_closed()
                if client.closed == math.inf and client.kind != "silent":
                    client.send_byte()
            time.sleep(1)
    finally:
        stopping.set()
        prober.join()
        for client in clients:
            client.connection.close()
    figures = {
        "slow_clients": len(clients),
        "never_closed": len(left),
        "last_closed_after_s": {
            kind: round(max(client.closed - client.opened for client in clients if client.kind == kind), 1)
            for kind in sorted({client.kind for client in clients})
        },
        **probes.figures(),
        "probe_median_s": probes.percentile(0.5),
        "probe_p99_s": probes.percentile(0.99),
    }
    assert set(probes.outcomes) == {200}, figures
    assert len(probes.durations) >= within, figures
    assert figures["probe_max_s"] < within, figures
    assert not left, figures
    return figures


def _open(running: Service, kind: str, count: int, first: bytes) -> Sequence[SlowClient]:
    """Open connections and send the same bytes on each."""
    opened = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", running.port), CLIENT_TIMEOUT)
        connection.sendall(first)
        connection.setblocking(False)
        opened.append(SlowClient(kind, connection, time.monotonic()))
    return opened


def serve_beside_endless_bodies(running: Service, *, count: int, seconds: float) -> dict[str, Any]:
    """Send bodies without an end and without a token, as fast as possible; reconnect whenever the server closes."""
    began, over, cut_off = time.monotonic(), threading.Event(), [0] * count

    def flood(number: int) -> None:
        while not over.is_set():
            with (
                socket.create_connection(("127.0.0.1", running.port), CLIENT_TIMEOUT) as connection,
                suppress(OSError),
            ):
                connection.sendall(ENDLESS_BODY)
                while not over.is_set():
                    connection.sendall(b"x" * 200_000)
            cut_off[number] += not over.is_set()

    floods = [threading.Thread(target=flood, args=(number,)) for number in range(count)]
    for thread in floods:
        thread.start()
    bearer, probes = token("quick"), ResponseTimes()
    while (elapsed := time.monotonic() - began) < seconds or (min(cut_off) == 0 and elapsed < CLIENT_TIMEOUT):
        probes.measure(running, "/api/quick/tasks", bearer)
        time.sleep(0.05)
    over.set()
    for thread in floods:
        thread.join()
    figures = {"floods_cut_off": sum(cut_off), **probes.figures(), "probe_median_s": probes.percentile(0.5)}
    assert min(cut_off) > 0, figures
    assert set(probes.outcomes) == {200}, figures
    assert figures["probe_max_s"] < LOAD_ALLOWANCE, figures
    return figures


def serve_beside_lingering_clients(running: Service, *, count: int) -> dict[str, Any]:
    """Keep connections open after a response with `Connection: close`, while other clients send requests."""
    lingering = _open(
        running, "lingering", count, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    probes = ResponseTimes()
    for _ in range(count):
        probes.measure(running, "/healthz")
    for client in lingering:
        client.connection.close()
    figures = {"lingering_clients": count, **probes.figures()}
    assert set(probes.outcomes) == {200}, figures
    assert figures["probe_max_s"] < LOAD_ALLOWANCE, figures
    return figures
