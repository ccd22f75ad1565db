"""A request that waits for SQLite's write lock sleeps, without a concurrency slot and without a connection."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from taskapi.auth.tokens import User
from taskapi.concurrency import slots
from taskapi.concurrency.lanes import Lane
from taskapi.database import sqlite_lanes, transactions
from taskapi.database.base import db
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.transactions import rows, writes
from tests.conftest import Person
from tests.database.sqlite.work import ALICE, pool, revision, start
from tests.waiting import WAIT_LIMIT, until

# The write lock.


@contextmanager
def released_at_pause(locked: sqlite3.Connection, number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Release the lock in the given pause; yield what was held in each pause: a slot, and the number of connections."""
    held: list[Any] = []
    semaphore = threading.BoundedSemaphore(1)

    def sleep(_seconds: float) -> None:
        free = semaphore.acquire(blocking=False)
        held.append((not free, pool().checkedout()))
        if free:
            semaphore.release()
        if len(held) == number:
            locked.execute("ROLLBACK")

    with monkeypatch.context() as patch, slots.held(semaphore):
        patch.setattr("taskapi.database.sqlite.time.sleep", sleep)
        yield held


@pytest.mark.usefixtures("app")
class TestWriteLock:
    def test_a_writer_that_waits_sleeps_without_slot_and_connection(
        self, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite's own wait sleeps inside C, which blocks all requests of a gevent worker."""
        with released_at_pause(locked, 8, monkeypatch) as held:
            start(ALICE)
        assert len(held) == 8
        assert set(held) == {(False, 0)}
        assert revision(ALICE) == 1

    def test_pauses_grow_to_a_limit(self, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 12:
                locked.execute("ROLLBACK")

        monkeypatch.setattr("taskapi.database.sqlite.time.sleep", sleep)
        start(ALICE)
        assert pauses[1:] == [0.001, 0.002, 0.004] + [0.008] * 8, "after the one of every request that had to wait"

    def test_any_number_of_waiting_writers_takes_no_connection_that_a_reader_needs(
        self, app: Flask, locked: sqlite3.Connection
    ) -> None:
        semaphore = threading.BoundedSemaphore(2)

        def write(number: int) -> None:
            with app.app_context(), slots.held(semaphore):
                start(User(f"u-{number}"))

        with ThreadPoolExecutor(20) as executor:
            writing = [executor.submit(write, number) for number in range(20)]
            until(lambda: sqlite_lanes.WRITER.waiting == 19)
            for _ in range(50):
                with slots.held(semaphore):
                    assert revision(ALICE) is None
                assert pool().checkedout() <= 1
            locked.execute("ROLLBACK")
            for one in writing:
                one.result(WAIT_LIMIT)
        assert rows(text("SELECT count(*) FROM users"))[0][0] == 20

    @pytest.mark.usefixtures("impatient")
    def test_all_writers_that_wait_are_unavailable_at_the_same_deadline(
        self, impatient: Flask, locked: sqlite3.Connection
    ) -> None:
        """Waiting one after the other took the sum of their timeouts."""
        outcomes = []

        def write(number: int) -> None:
            with impatient.app_context():
                try:
                    start(User(f"u-{number}"))
                except DatabaseUnavailable as error:
                    outcomes.append(error.uncertain)

        with ThreadPoolExecutor(40) as executor:
            for one in [executor.submit(write, number) for number in range(40)]:
                one.result(8)  # one after the other it would be 12 s
        assert outcomes == [False] * 40
        locked.execute("ROLLBACK")
        assert revision(ALICE) is None

    def test_a_write_inside_a_write_does_not_wait_for_itself(self) -> None:
        @writes
        def both(owner: User) -> None:
            start(owner)

        both(ALICE)
        assert revision(ALICE) == 1

    def test_a_read_that_meets_a_lock_tries_again(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Readers meet a lock during the recovery of a log; a connection in exclusive mode simulates it."""
        start(ALICE)
        db.engine.dispose()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("BEGIN IMMEDIATE")
            pauses: list[float] = []

            def sleep(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == 5:
                    other.close()

            monkeypatch.setattr("taskapi.database.sqlite.time.sleep", sleep)
            assert revision(ALICE) == 1
            assert len(pauses) >= 5


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(("long_write", "rests"), [(-1.0, True), (60.0, False)])
def test_after_a_long_write_its_user_rests_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch, long_write: float, *, rests: bool
) -> None:
    monkeypatch.setattr(sqlite_lanes, "LONG_WRITE", long_write)
    monkeypatch.setattr(sqlite_lanes, "WRITER", Lane(1))
    timers: list[Any] = []

    def begin(timer: threading.Timer) -> None:
        timers.append(timer)

    monkeypatch.setattr(threading.Timer, "start", begin)
    start(ALICE)
    assert len(timers) == rests
    assert sqlite_lanes.WRITER.acquire_now("bob")
    sqlite_lanes.WRITER.release("bob")
    assert sqlite_lanes.WRITER.acquire_now(ALICE.id) is not rests


@pytest.mark.usefixtures("app")
def test_writers_of_several_users_are_served_in_turn(monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    lane, order = Lane(1), []
    monkeypatch.setattr(sqlite_lanes, "WRITER", lane)

    @writes
    def write(owner: User) -> None:
        order.append(owner.id)

    def write_as(name: str) -> None:
        with app.app_context():
            write(User(name))

    assert lane.acquire_now("heavy")
    with ThreadPoolExecutor(5) as pool:
        for number, name in enumerate(["heavy", "heavy", "heavy", "alice"], 1):
            pool.submit(write_as, name)
            until(lambda number=number: lane.waiting == number)
        lane.release("heavy")
    assert order == ["heavy", "alice", "heavy", "heavy"]


@pytest.fixture
def alice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Person:
    """A user of an application that waits 1.5 s for the lock instead of 5 s."""
    monkeypatch.setattr(transactions, "STATEMENT_TIMEOUT", 1.5)
    app: Flask = request.getfixturevalue("app")  # it reads the limit when it is created
    return Person(app.test_client(), "alice")


def test_a_lock_that_is_held_briefly_is_waited_for(alice: Person, locked: sqlite3.Connection) -> None:
    release = threading.Timer(0.2, lambda: locked.execute("ROLLBACK"))
    begin = time.monotonic()
    release.start()
    assert alice.add()
    assert time.monotonic() - begin >= 0.15
    release.join()


def test_a_lock_that_is_held_for_too_long_is_503_and_nothing_is_written(
    alice: Person, locked: sqlite3.Connection
) -> None:
    begin = time.monotonic()
    response = alice.post(json={"title": "x"})
    assert time.monotonic() - begin < 4.5
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.get_json()["detail"] == "The database cannot be reached. Nothing was changed; try again shortly."
    locked.execute("ROLLBACK")
    assert alice.titles() == []


@pytest.mark.usefixtures("locked")
def test_reads_do_not_wait_for_a_writer(alice: Person) -> None:
    # A read that waits for the lock would be 503 after 1.5 s.
    assert alice.titles() == []
