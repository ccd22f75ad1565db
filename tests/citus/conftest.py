"""Fixtures of the tests on a Citus cluster, which `CITUS_URL` names: without it they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from flask import Flask

from tests.citus.cluster import Cluster, new_database
from tests.conftest import Person, serving
from tests.postgres import OWNER, SERVICE

WHY_SKIPPED = "CITUS_URL is not set: the superuser's URL of the coordinator of a Citus cluster (docs/operations.md)"


@pytest.fixture(scope="session")
def cluster_url() -> str:
    """The URL of the coordinator, with its superuser."""
    url = os.environ.get("CITUS_URL")
    if not url:
        pytest.skip(WHY_SKIPPED)
    return url


def service(cluster: Cluster, role: str = SERVICE) -> AbstractContextManager[Flask]:
    """Serve a database of the cluster inside a block, in the context of the application."""
    return serving(cluster.url_of(role), MIGRATION_DATABASE_URL=cluster.url_of(OWNER))


def flask(app: Flask, *words: str) -> str:
    """Run a command of `flask`; return its output."""
    result = app.test_cli_runner().invoke(args=words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


@pytest.fixture(scope="session")
def existing_rows() -> list[str]:
    """The titles of alice's tasks from before `flask distribute`."""
    return ["Before 2", "Before 1"]


@pytest.fixture(scope="session")
def cluster(cluster_url: str, existing_rows: list[str]) -> Iterator[Cluster]:
    """A distributed database, shared by the tests; alice had tasks before `flask distribute`."""
    with new_database(cluster_url) as cluster:
        with service(cluster) as app:
            flask(app, "db", "upgrade")
            for title in reversed(existing_rows):
                Person(app.test_client(), "alice").add(title)
            assert "tasks" in flask(app, "distribute")
        yield cluster


@pytest.fixture
def app(cluster: Cluster) -> Iterator[Flask]:
    """The application on the shared distributed database."""
    with service(cluster) as app:
        yield app
