"""A JWKS endpoint that hangs, and anonymous clients whose tokens name unknown key ids, so that they wait for it."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from tests.auth.issuer import Signer, base64url
from tests.auth.key_server import KeyServer
from tests.chaos.other_clients import USER, probe_other_clients
from tests.chaos.service import CLIENT_TIMEOUT, Service, run_service

CONNECTIONS = 12
"""Number of attacking connections: more than a worker has slots."""

PAUSE = 0.02
"""Seconds between two requests of a connection: the attack is to make requests wait, not to use the CPU."""


def send_unknown_key_ids(url: str, *, seconds: float, quiet: float = 3) -> dict[str, Any]:
    """Let the JWKS endpoint hang while 12 connections send tokens with unknown key ids, for `seconds` seconds.

    The other clients are probed with an HS256 token, which needs no JWKS, and with a token of a key that the worker has
    cached. The figures of the latter are under `known_key`.
    """
    signer = Signer("EdDSA")
    with (
        key_server(signer) as server,
        run_service(url, workers=1, BETTER_AUTH_JWKS_URL=server.url) as running,
    ):
        known = signer.token({"sub": USER, "exp": time.time() + 900})
        assert running.get(f"/api/{USER}/tasks", known).status == 200  # the worker caches the key
        fetches = 0

        def attack(over: threading.Event) -> dict[str, Any]:
            nonlocal fetches
            server.mode, fetches = "slow", len(server.fetches)
            began = time.monotonic()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                outcomes = sum(pool.map(lambda _: _send_until(over, running), range(CONNECTIONS)), Counter[str]())
            return {
                "requests_with_invented_key_ids": dict(outcomes),
                "fetches_allowed": int(time.monotonic() - began) + 1,
            }

        figures = probe_other_clients(running, seconds, attack, quiet=quiet, known_key=known)
        figures["fetches"] = len(server.fetches) - fetches
    assert set(figures["requests_with_invented_key_ids"]) == {"401"}, figures
    assert 0 < figures["fetches"] <= figures["fetches_allowed"], figures
    return figures


@contextmanager
def key_server(signer: Signer) -> Iterator[KeyServer]:
    """Run a JWKS endpoint with one key until the context ends."""
    server = KeyServer(signer.jwk())
    try:
        yield server
    finally:
        server.stop()


def _send_until(over: threading.Event, running: Service) -> Counter[str]:
    """Send tokens with unknown key ids one after the other on one connection; return the number of each status."""
    outcomes: Counter[str] = Counter()
    claims = base64url({"sub": "mallory", "exp": int(time.time()) + 900})
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=CLIENT_TIMEOUT)) as connection:
        while not over.is_set():
            header = base64url({"alg": "EdDSA", "kid": f"invented-{time.perf_counter_ns()}"})
            bearer = {"Authorization": f"Bearer {header}.{claims}.{base64url(bytes(64))}"}
            connection.request("GET", "/api/mallory/tasks", headers=bearer)
            response = connection.getresponse()
            response.read()
            outcomes[str(response.status)] += 1
            time.sleep(PAUSE)
    return outcomes
