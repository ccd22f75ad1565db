"""A failed COMMIT on SQLite is uncertain if the transaction may be in the log."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from taskapi.auth.tokens import User
from taskapi.database import sqlite, sqlite_errors
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.transactions import execute, reads, writes
from taskapi.tasks.transfer import import_statements
from tests.conftest import Person
from tests.database.sqlite.work import ALICE, pool, revision, start

# A full disk.


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """Limit the size of this process's files to that of the log (RLIMIT_FSIZE), so that larger writes fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{file}-wal").stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_on_a_full_disk_a_write_is_503_and_not_uncertain(app: Flask, file: Path) -> None:
    """COMMIT fails, and SQLite rolls back."""
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
        # The last page of the transaction is in the log by then: a recovery finds it complete.
        pytest.param(sqlite3.SQLITE_IOERR_FSYNC, True, id="fsync"),
        pytest.param(sqlite3.SQLITE_IOERR_SHMSIZE, True, id="index"),
    ],
)
def test_which_failed_commits_may_be_committed(code: int, uncertain: bool) -> None:  # noqa: FBT001
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


# The page cache of bulk writes.


@pytest.mark.parametrize("fails", [False, True], ids=["commit", "rollback"])
@pytest.mark.usefixtures("app")
def test_a_connection_has_a_large_page_cache_only_while_it_writes_many_rows(fails: bool) -> None:  # noqa: FBT001
    @writes
    def write(owner: User) -> int:
        start(owner)
        import_statements.write_rows(owner, [], [])
        if fails:
            raise ZeroDivisionError
        return cache()

    @reads
    def read(_owner: User) -> int:
        return cache()

    def cache() -> int:
        kib: int = execute(text("PRAGMA cache_size")).scalar_one()
        return -kib

    assert read(ALICE) == sqlite.CACHE_KIB, "SQLite's default"
    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        assert write(ALICE) == sqlite.BULK_CACHE_KIB
    for _ in range(pool().size()):  # the pool lends its connections in turn
        assert read(ALICE) == sqlite.CACHE_KIB
