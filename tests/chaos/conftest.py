"""Databases that tests may break, and the record of figures; for `make chaos` and tests/faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.postgres import PostgreSQL, postgresql
from tests.chaos.service import record
from tests.conftest import DIALECTS, migrate


@pytest.fixture(scope="session")
def postgresql_instance() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that no other test uses."""
    with postgresql() as running:
        yield running


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite file that no other test uses."""
    url = f"sqlite:///{tmp_path}/taskapi.db"
    migrate(url)
    return url


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
