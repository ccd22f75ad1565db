"""The service with its production settings, a shared secret, a key pair of each algorithm and two users with tasks."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer
from tests.auth.key_server import KeyServer
from tests.conftest import migrate
from tests.gunicorn_server import serve
from tests.security.attacker import AUDIENCE, ISSUER, System


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[System]:
    """Run a service on a new database, with its output in a file."""
    url = f"sqlite:///{folder}/taskapi.db"
    migrate(url)
    log = folder / "log"
    signers = {algorithm: Signer(algorithm) for algorithm in KEY_PAIR_ALGORITHMS}
    key_server = KeyServer(*(signer.jwk() for signer in signers.values()))
    environ = {
        "BETTER_AUTH_JWKS_URL": key_server.url,
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_MAX_LIFETIME": "15m",
        "CORS_ORIGINS": ISSUER,
        "RATE_LIMIT": "off",
        "WEB_CONCURRENCY": "1",
        # Standard output and error, including the access log.
        "GUNICORN_CMD_ARGS": f"--capture-output --error-logfile {shlex.quote(str(log))}",
        **settings,
    }
    try:
        with serve(url, **environ) as server, closing(sqlite3.connect(folder / "taskapi.db")) as database:
            system = System(server.port, log, signers, key_server, database)
            _create_tasks(system)
            yield system
    finally:
        key_server.stop()


def _create_tasks(system: System) -> None:
    for user, body in (
        ("alice", b'{"title": "Buy milk", "description": "Two liters", "tags": ["shop"]}'),
        ("alice", b'{"title": "See the doctor", "priority": "high"}'),
        ("alice", b'{"title": "An old secret"}'),
        ("mallory", b'{"title": "Sell milk"}'),
        ("mallory", b'{"title": "Sell more milk"}'),
    ):
        assert system.of(user, method="POST", body=body).status == 201
    assert system.of("alice", "/tasks/3", method="DELETE").status == 204


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One service for all tables of attacks."""
    with serving(tmp_path_factory.mktemp("attacked")) as served:
        yield served


@pytest.fixture(scope="module")
def data_unchanged(system: System) -> Iterator[None]:
    """Assert that the tests of a module changed no data of alice and mallory."""
    before = system.data()
    yield
    assert system.data() == before
