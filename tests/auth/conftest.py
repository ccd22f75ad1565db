"""Fixtures: a clock, a fresh cache of ended sessions, key pairs and key servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from taskapi.auth import hook
from taskapi.auth.sessions import EndedSessions
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer
from tests.auth.key_server import KeyServer


@dataclass
class Clock:
    """A clock that the test advances, in seconds."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> EndedSessions:
    """Give the application an empty cache of ended sessions, which reads again when the test advances the clock."""
    made = EndedSessions(clock=clock)
    monkeypatch.setitem(app.extensions, hook._SESSIONS, made)
    return made


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    """A key pair for each accepted algorithm, generated once per run."""
    return {algorithm: Signer(algorithm) for algorithm in KEY_PAIR_ALGORITHMS}


@pytest.fixture
def serve_keys() -> Iterator[Callable[..., KeyServer]]:
    """Return a function that starts a key server with the given keys; it is stopped after the test."""
    servers: list[KeyServer] = []

    def serve(*keys: dict[str, Any], **options: Any) -> KeyServer:
        servers.append(KeyServer(*keys, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()
