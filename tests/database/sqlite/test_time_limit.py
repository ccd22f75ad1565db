"""Statements have a time limit, and long ones are executed in native threads."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from taskapi.auth.tokens import User
from taskapi.concurrency import slots
from taskapi.database import sqlite, sqlite_lanes, unit_of_work
from taskapi.database.base import db
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.transactions import execute, reads, rows, writes
from tests.database.sqlite.work import ALICE, COUNT, ENDLESS, LONG_COUNT, Threads, count, pool, revision, start

# Long statements.


@pytest.mark.usefixtures("impatient")
class TestTimeLimit:
    def test_a_read_that_takes_too_long_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable, match=r"^interrupted$"):  # without the statement's values
            count(ALICE, ENDLESS)
        assert count(ALICE, 5) == 5, "the connection is as good as before"

    def test_a_prepared_statement_that_takes_too_long_is_unavailable(self) -> None:
        @reads
        def search(_owner: User) -> Any:
            connection: Any = unit_of_work.current_unit()._driver
            return connection.rows(str(COUNT).replace(":n", "?"), (ENDLESS,))

        with pytest.raises(DatabaseUnavailable, match="interrupted"):
            search(ALICE)

    def test_a_write_that_takes_too_long_is_rolled_back_and_not_uncertain(self) -> None:
        @writes
        def work(owner: User) -> None:
            start(owner)
            count(owner, ENDLESS)

        with pytest.raises(DatabaseUnavailable, match="interrupted") as caught:
            work(ALICE)
        assert not caught.value.uncertain
        assert revision(ALICE) is None
        start(User("bob"))

    def test_a_statement_about_no_user_has_the_limit_too(self) -> None:
        with pytest.raises(DatabaseUnavailable, match="interrupted"):
            rows(text(str(COUNT).replace(":n", str(ENDLESS))))

    def test_in_a_native_thread_the_limit_is_the_same(self, threads: Threads) -> None:
        with pytest.raises(DatabaseUnavailable, match="interrupted"):
            count(ALICE, ENDLESS)
        assert threads.calls == 1

    def test_a_migration_may_take_longer(self, impatient: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite.SQLiteConnection, "timeout", 0.0)
        with db.engine.begin() as connection:
            assert connection.execute(COUNT, {"n": LONG_COUNT}).scalar_one() == LONG_COUNT


@pytest.mark.usefixtures("app")
class TestNativeThreads:
    def test_a_short_statement_is_executed_in_the_worker_s_thread(self, threads: Threads) -> None:
        assert count(ALICE, 5) == 5
        start(ALICE)
        assert revision(ALICE) == 1
        assert threads.calls == 0

    def test_a_read_with_a_long_statement_runs_again_in_a_thread(self, threads: Threads) -> None:
        attempts = []

        @reads
        def work(owner: User) -> int:
            attempts.append(owner)
            return count(owner, LONG_COUNT)

        assert work(ALICE) == LONG_COUNT
        assert (len(attempts), threads.calls) == (2, 1)

    def test_a_write_with_a_long_statement_runs_again_in_a_thread_and_is_made_once(self, threads: Threads) -> None:
        start(ALICE, LONG_COUNT)
        assert revision(ALICE) == LONG_COUNT
        assert threads.calls >= 2, "the count and the insertion"
        assert sqlite_lanes.WRITER.acquire_now(), "the lane of writers is free"
        sqlite_lanes.WRITER.release()

    def test_many_values_go_to_a_thread_at_once(self, threads: Threads) -> None:
        attempts = []

        @writes
        def work(owner: User) -> None:
            attempts.append(owner)
            start(owner)
            values = [{"id": f"u-{number}"} for number in range(1000)]
            execute(text("INSERT INTO users (user_id, revision, last_task_id, epoch) VALUES (:id, 1, 0, '')"), values)

        work(ALICE)
        assert (len(attempts), threads.calls) == (1, 2), "the insertion and its COMMIT"
        assert rows(text("SELECT count(*) FROM users"))[0][0] == 1001

    def test_a_long_read_holds_no_slot_and_one_connection(self, threads: Threads) -> None:
        semaphore, seen = threading.BoundedSemaphore(1), []

        def look() -> None:
            free = semaphore.acquire(blocking=False)
            seen.append((free, pool().checkedout()))
            if free:
                semaphore.release()

        threads.meanwhile = look
        with slots.held(semaphore):
            assert count(ALICE, LONG_COUNT) == LONG_COUNT
        assert seen == [(True, 1)]
        assert semaphore.acquire(blocking=False), "and it was given back in the end"

    def test_the_log_of_sign_outs_is_read_beside_long_reads_and_keeps_its_slot(self, threads: Threads) -> None:
        """Its reader holds a lock that other holders of slots wait for: it must not wait for a slot."""
        semaphore, seen = threading.BoundedSemaphore(1), []

        def look() -> None:
            free = semaphore.acquire(blocking=False)
            seen.append(free)
            if free:
                semaphore.release()

        threads.meanwhile = look
        for number in range(sqlite.LONG_READS):
            assert sqlite_lanes.LONG_READER.acquire_now(f"u-{number}")
        try:
            with slots.held(semaphore):
                assert rows(text(str(COUNT).replace(":n", str(LONG_COUNT))))[0][0] == LONG_COUNT
        finally:
            for number in range(sqlite.LONG_READS):
                sqlite_lanes.LONG_READER.release(f"u-{number}")
        assert seen == [False]

    def test_reading_many_rows_yields_to_other_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        yields: list[float] = []
        monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
        numbers = str(COUNT).replace(":n", "?").replace("count(*)", "x")
        with closing(db.engine.raw_connection()) as connection:
            driver: Any = connection.dbapi_connection
            driver.start(in_threads=False)
            assert len([*driver.rows(numbers, (1000,))]) == 1000
            assert len(yields) == 1000 / sqlite.SLICE_ROWS
            assert len([*driver.rows(numbers, (100,))]) == 100
            assert len(yields) == 1000 / sqlite.SLICE_ROWS, "a small page does not"

    def test_rows_can_be_read_in_every_way(self) -> None:
        with closing(db.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("VALUES (1), (2), (3), (4), (5), (6)")
            assert cursor.fetchone() == (1,)
            assert cursor.fetchmany() == [(2,)]
            assert cursor.fetchmany(2) == [(3,), (4,)]
            assert next(cursor) == (5,)
            assert cursor.fetchall() == [(6,)]
            assert cursor.fetchone() is None
