"""A key server that a test can let down, and signers whose keys are made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer
from tests.auth.key_server import KeyServer


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    """One key pair for each algorithm that is accepted."""
    return {algorithm: Signer(algorithm) for algorithm in KEY_PAIR_ALGORITHMS}


@pytest.fixture
def serve_keys() -> Iterator[Callable[..., KeyServer]]:
    """Key servers that publish the given keys."""
    servers: list[KeyServer] = []

    def serve(*keys: dict[str, Any], **options: Any) -> KeyServer:
        servers.append(KeyServer(*keys, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()
