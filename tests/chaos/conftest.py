"""Databases that tests may break, and the record of figures; for `make chaos` and tests/faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.postgres import PostgreSQL, postgresql
from tests.chaos.service import record
from tests.conftest import DIALECTS, migrate
from tests.postgres import new_database


@pytest.fixture(scope="session")
def postgresql_instance() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that no other test uses."""
    with postgresql() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A PostgreSQL primary with two synchronous standbys, complete again after each test."""
    with cluster() as running:
        yield running


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite file that no other test uses."""
    url = f"sqlite:///{tmp_path}/taskapi.db"
    migrate(url)
    return url


@pytest.fixture(params=DIALECTS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each dialect, without tables, that no other test uses."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server = request.getfixturevalue("postgresql_server")
    with new_database(server) as url:
        yield url


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest) -> str:
    """A database of each dialect that no other test uses."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgresql_instance").url)


@pytest.fixture
def figures(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Record measured figures under the name of the test."""
    return partial(record, record_property, request.node.name)
