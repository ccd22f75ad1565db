"""The fixtures of `tests/chaos`, for runs of seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.conftest import empty_url, figures, postgresql_cluster, postgresql_instance, sqlite_url, url
from tests.chaos.service import Service, run_service
from tests.conftest import migrate

__all__ = ["empty_url", "figures", "postgresql_cluster", "postgresql_instance", "sqlite_url", "url"]


@pytest.fixture(scope="package")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with one worker on SQLite, for tests that attack only by their requests."""
    url = f"sqlite:///{tmp_path_factory.mktemp('attacked')}/taskapi.db"
    migrate(url)
    with run_service(url, workers=1) as running:
        yield running
