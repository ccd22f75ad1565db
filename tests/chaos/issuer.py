"""A key server that hangs, and anonymous clients that invent key ids, so that their requests wait for it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from tests.auth.issuer import Signer, base64url
from tests.auth.key_server import KeyServer
from tests.chaos.neighbours import USER, probe_neighbours
from tests.chaos.service import PATIENCE, Service, service
from tests.gunicorn_server import ROOT

COUNT = 12
"""Connections of the attack: more than a worker has slots."""

PAUSE = 0.02
"""Seconds between two requests of a connection: the attack is that they wait, not that they use all the CPU."""


def invent_key_ids(url: str, *, seconds: float) -> dict[str, Any]:
    """Let a key server hang while 12 connections send tokens with invented key ids, for so many seconds.

    Beside the other clients of `probe_neighbours`, whose tokens are HS256, a second set of them has tokens of a key that
    the worker knows. Their figures are under `known_key`.
    """
    signer = Signer("EdDSA")
    with (
        key_server(signer) as server,
        service(url, workers=1, BETTER_AUTH_JWKS_URL=server.url) as running,
    ):
        known = signer.token({"sub": USER, "exp": time.time() + 900})
        assert running.ask(f"/api/{USER}/tasks", known).status == 200  # now the worker knows the key
        server.mode, fetches = "slow", len(server.fetches)

        def attack(over: threading.Event) -> dict[str, Any]:
            with ThreadPoolExecutor(1 + COUNT) as pool:
                probed = pool.submit(_probe_with, known, running, seconds)
                began = time.monotonic()
                outcomes = sum(pool.map(lambda _: _send_until(over, running), range(COUNT)), Counter[str]())
                return {
                    "requests_with_invented_key_ids": dict(outcomes),
                    "fetches_allowed": int(time.monotonic() - began) + 1,
                    "known_key": probed.result(),
                }

        figures = probe_neighbours(running, seconds, attack)
        figures["fetches"] = len(server.fetches) - fetches
    assert set(figures["requests_with_invented_key_ids"]) == {"401"}, figures
    assert 0 < figures["fetches"] <= figures["fetches_allowed"], figures
    return figures


@contextmanager
def key_server(signer: Signer) -> Iterator[KeyServer]:
    server = KeyServer(signer.jwk())
    try:
        yield server
    finally:
        server.stop()


def _send_until(over: threading.Event, running: Service) -> Counter[str]:
    """Send tokens with invented key ids on one connection, one after the other."""
    outcomes: Counter[str] = Counter()
    claims = base64url({"sub": "mallory", "exp": int(time.time()) + 900})
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
        while not over.is_set():
            header = base64url({"alg": "EdDSA", "kid": f"invented-{time.perf_counter_ns()}"})
            bearer = {"Authorization": f"Bearer {header}.{claims}.{base64url(bytes(64))}"}
            connection.request("GET", "/api/mallory/tasks", headers=bearer)
            response = connection.getresponse()
            response.read()
            outcomes[str(response.status)] += 1
            time.sleep(PAUSE)
    return outcomes


def _probe_with(token: str, running: Service, seconds: float) -> dict[str, Any]:
    """Probe as `probe_neighbours` does, with another token of its user."""
    command = [sys.executable, "-m", "tests.chaos.neighbours", str(running.port), token, str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 4 * PATIENCE
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
