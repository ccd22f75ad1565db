"""Fixtures: applications of one test, and changes of the database that are undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from tests import postgres
from tests.conftest import delete_all_rows, serving


@pytest.fixture
def app_in_context(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """An application in its context, for tests that break its connections: they use no other application's."""
    made = make_app()
    with made.app_context():
        yield made


@pytest.fixture
def postgresql_app(postgresql_url: str) -> Iterator[Flask]:
    """An application in its context, on PostgreSQL, whose rows are deleted at the end."""
    with serving(postgresql_url) as made:
        yield made
    delete_all_rows(postgresql_url)


@pytest.fixture
def change(postgresql_url: str) -> Iterator[Callable[[str, str], None]]:
    """Execute a statement as the superuser, and another at the end that undoes it."""
    undone: list[str] = []
    engine = create_engine(postgres.as_superuser(postgresql_url), isolation_level="AUTOCOMMIT")

    def execute(statement: str, undo: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))
        undone.append(undo)

    yield execute
    with engine.connect() as connection:
        for statement in undone:
            connection.execute(text(statement))
    engine.dispose()
