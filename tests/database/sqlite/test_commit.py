"""A COMMIT that fails says whether the change may be saved."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from flask import Flask

from taskapi.database import sqlite, sqlite_errors
from taskapi.database.failures import DatabaseUnavailable
from tests.conftest import Person
from tests.database.sqlite.work import ALICE, revision, start

# A full disk.


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """No file of this process grows beyond what the log has now; a write that needs more fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{file}-wal").stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_on_a_full_disk_a_write_says_that_nothing_was_saved(app: Flask, file: Path) -> None:
    """The failure is that of COMMIT, which SQLite has rolled back."""
    alice = Person(app.test_client(), "alice")
    alice.add("Before")
    with full_disk(file):
        response = alice.post(json={"title": "Too much", "description": "x" * 10_000})
    assert response.status_code == 503
    assert response.get_json()["detail"] == "The database cannot be reached. Nothing was changed; try again shortly."
    assert alice.titles() == ["Before"]
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT title FROM tasks").fetchall() == [("Before",)]
    alice.add("After")
    assert sorted(alice.titles()) == ["After", "Before"]


@pytest.mark.parametrize(
    ("code", "uncertain"),
    [
        pytest.param(sqlite3.SQLITE_FULL, False, id="full"),
        pytest.param(sqlite3.SQLITE_IOERR_WRITE, False, id="write"),
        pytest.param(sqlite3.SQLITE_BUSY, False, id="busy"),
        # The last page of the transaction stands in the log by then: a recovery finds it complete.
        pytest.param(sqlite3.SQLITE_IOERR_FSYNC, True, id="fsync"),
        pytest.param(sqlite3.SQLITE_IOERR_SHMSIZE, True, id="index"),
    ],
)
def test_what_a_failed_commit_means(code: int, uncertain: bool) -> None:  # noqa: FBT001
    error = sqlite3.OperationalError("failed")
    error.sqlite_errorcode = code
    assert sqlite_errors.may_be_committed(error) is uncertain
    assert sqlite_errors.is_unavailable(error)


@pytest.mark.usefixtures("app")
def test_a_commit_that_may_be_in_the_log_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        if not connection.in_transaction:
            return
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    monkeypatch.setattr(sqlite.SQLiteConnection, "commit", fail)
    with pytest.raises(DatabaseUnavailable) as caught:
        start(ALICE)
    assert caught.value.uncertain
    assert revision(ALICE) is None
