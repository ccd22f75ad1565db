"""Fixtures: an application on its own SQLite file, a short time limit, native threads, a held write lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

import taskapi.database.transactions
from taskapi.database import sqlite
from tests.conftest import migrate, serving
from tests.database.sqlite.work import Threads


@pytest.fixture
def file(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path}/tasks.db")
    return tmp_path / "tasks.db"


@pytest.fixture
def app(file: Path) -> Iterator[Flask]:
    with serving(f"sqlite:///{file}") as made:
        yield made


@pytest.fixture
def impatient(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application whose statements may take 0.3 s."""
    monkeypatch.setattr(taskapi.database.transactions, "STATEMENT_TIMEOUT", 0.3)
    with serving(f"sqlite:///{file}") as made:
        yield made


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads()
    sqlite.use_threads(made)
    yield made
    sqlite.use_threads(None)
    made.pool.shutdown()


@pytest.fixture
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """A second connection that holds the write lock."""
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
