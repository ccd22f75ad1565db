"""Clients that take their time, and the others beside them."""

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

from tests.chaos.scenarios import SLACK
from tests.chaos.service import Service, service
from tests.conftest import token
from tests.waiting import PATIENCE

HEAD = b"GET /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
    b"Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
)
ENDLESS = b"POST /api/slow/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"


@dataclass
class Slow:
    """One connection: what it has sent at once, and whether it goes on byte by byte."""

    kind: str
    connection: socket.socket
    opened: float
    closed: float = math.inf

    def look(self) -> None:
        """Notice that the server has closed it; an answer that comes first is read and forgotten."""
        try:
            while self.connection.recv(4096):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self.closed = time.monotonic()
        self.connection.close()

    def drip(self) -> None:
        try:
            self.connection.send(b"x")
        except OSError:
            self.look()


@dataclass
class Probes:
    """What others were answered meanwhile."""

    outcomes: Counter[str | int] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)

    def ask(self, running: Service, path: str, by: str | None = None) -> None:
        began = time.monotonic()
        try:
            self.outcomes[running.ask(path, by).status] += 1
        except (OSError, http.client.HTTPException) as error:
            self.outcomes[type(error).__name__] += 1
        self.took.append(time.monotonic() - began)

    def percentile(self, part: float) -> float:
        return round(sorted(self.took)[int(len(self.took) * part)], 3)


def serve_beside_slow_clients(
    url: str, *, heads: int, bodies: int, silent: int, within: float, settings: str = "gunicorn.conf.py"
) -> dict[str, Any]:
    """Clients that send a byte a second, or none; `within` so many seconds all of them are closed, others served."""
    with service(url, workers=2, settings=settings) as running:
        mine, probes = token("quick"), Probes()
        probing = threading.Event()

        def probe() -> None:
            while not probing.is_set():
                probes.ask(running, "/api/quick/tasks", mine)
                time.sleep(0.05)

        slow = [*_open(running, "head", heads, HEAD), *_open(running, "body", bodies, BODY % token("slow").encode())]
        slow += _open(running, "silent", silent, b"")
        prober = threading.Thread(target=probe)
        prober.start()
        try:
            deadline = time.monotonic() + within + PATIENCE
            while (left := [one for one in slow if one.closed == math.inf]) and time.monotonic() < deadline:
                for one in left:
                    one.look()
                    if one.closed == math.inf and one.kind != "silent":
                        one.drip()
                time.sleep(1)
        finally:
            probing.set()
            prober.join()
            for one in slow:
                one.connection.close()
    figures = {
        "slow_clients": len(slow),
        "never_closed": len(left),
        "last_closed_after_s": {
            kind: round(max(one.closed - one.opened for one in slow if one.kind == kind), 1)
            for kind in sorted({one.kind for one in slow})
        },
        "probes": {str(outcome): count for outcome, count in probes.outcomes.items()},
        "probe_median_s": probes.percentile(0.5),
        "probe_p99_s": probes.percentile(0.99),
        "probe_max_s": probes.percentile(1 - 1e-9),
    }
    assert set(probes.outcomes) == {200}, figures
    assert len(probes.took) >= within, figures
    assert figures["probe_max_s"] < within, figures
    assert not left, figures
    return figures


def _open(running: Service, kind: str, count: int, first: bytes) -> Sequence[Slow]:
    opened = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", running.port), 20)
        connection.sendall(first)
        connection.setblocking(False)
        opened.append(Slow(kind, connection, time.monotonic()))
    return opened


def serve_beside_floods(url: str, *, count: int, seconds: float) -> dict[str, Any]:
    """Clients without a token that send as much as they can, and the next one as soon as one is cut off."""
    with service(url, workers=1) as running:
        began, over, cut_off = time.monotonic(), threading.Event(), [0] * count

        def flood(number: int) -> None:
            while not over.is_set():
                with socket.create_connection(("127.0.0.1", running.port), 20) as connection, suppress(OSError):
                    connection.sendall(ENDLESS)
                    while not over.is_set():
                        connection.sendall(b"x" * 200_000)
                cut_off[number] += not over.is_set()

        floods = [threading.Thread(target=flood, args=(number,)) for number in range(count)]
        for one in floods:
            one.start()
        mine, probes = token("quick"), Probes()
        while (so_far := time.monotonic() - began) < seconds or (min(cut_off) == 0 and so_far < PATIENCE):
            probes.ask(running, "/api/quick/tasks", mine)
            time.sleep(0.05)
        over.set()
        for one in floods:
            one.join()
    figures = {
        "floods_cut_off": sum(cut_off),
        "probes": {str(outcome): n for outcome, n in probes.outcomes.items()},
        "probe_median_s": probes.percentile(0.5),
        "probe_max_s": probes.percentile(1 - 1e-9),
    }
    assert min(cut_off) > 0, figures
    assert set(probes.outcomes) == {200}, figures
    assert figures["probe_max_s"] < SLACK, figures
    return figures


def serve_beside_lingering_clients(url: str, *, count: int) -> dict[str, Any]:
    """Clients that got their answer and do not hang up, although the server said that it will."""
    with service(url, workers=2) as running:
        lingering = _open(
            running, "lingering", count, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        probes = Probes()
        for _ in range(count):
            probes.ask(running, "/healthz")
        for one in lingering:
            one.connection.close()
    figures = {
        "lingering_clients": count,
        "probes": {str(outcome): n for outcome, n in probes.outcomes.items()},
        "probe_max_s": probes.percentile(1 - 1e-9),
    }
    assert set(probes.outcomes) == {200}, figures
    assert figures["probe_max_s"] < SLACK, figures
    return figures
