"""What faults, short and long, are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.postgres import PostgreSQL, postgresql
from tests.chaos.service import note
from tests.conftest import DIALECTS, migrate


@pytest.fixture(scope="session")
def instance() -> Iterator[PostgreSQL]:
    """A PostgreSQL that nobody else uses."""
    with postgresql() as running:
        yield running


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated file that nobody else uses."""
    url = f"sqlite:///{tmp_path}/taskapi.db"
    migrate(url)
    return url


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest) -> str:
    """A database of each dialect that nobody else uses."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("instance").url)


@pytest.fixture
def figures(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Keep what a test has counted, under its name."""
    return partial(note, record_property, request.node.name)
