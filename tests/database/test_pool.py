"""The lock-free pool keeps the promises of SQLAlchemy's QueuePool: no shared, lost or leaked connection."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlalchemy.util.queue import Queue

from taskapi.database.pool import Pool
from tests.waiting import until

SIZE = 3


@pytest.fixture(params=[Pool, QueuePool], ids=["taskapi", "sqlalchemy"])
def poolclass(request: pytest.FixtureRequest) -> type[QueuePool]:
    """Our pool, and SQLAlchemy's for comparison."""
    poolclass: type[QueuePool] = request.param
    return poolclass


@pytest.fixture
def engine(tmp_path: Path, poolclass: type[QueuePool]) -> Iterator[Engine]:
    made = create_engine(
        f"sqlite:///{tmp_path}/x.db", poolclass=poolclass, pool_size=SIZE, max_overflow=0, pool_timeout=0.2
    )
    yield made
    made.dispose()


def check_out(engine: Engine) -> Any:
    return engine.raw_connection()


def test_the_connection_idle_longest_is_checked_out_first(engine: Engine):
    first, second = check_out(engine), check_out(engine)
    drivers = first.dbapi_connection, second.dbapi_connection
    first.close()
    second.close()
    with closing(check_out(engine)) as next_one:
        assert next_one.dbapi_connection is drivers[0]
    assert engine.pool.checkedin() == 2, "no connection is opened while one is idle"


def test_the_pool_has_at_most_pool_size_connections(engine: Engine):
    taken = [check_out(engine) for _ in range(SIZE)]
    began = time.monotonic()
    with pytest.raises(PoolTimeout):
        check_out(engine)
    assert 0.2 <= time.monotonic() - began < 10
    taken.pop().close()
    check_out(engine).close()
    assert len({id(connection.dbapi_connection) for connection in taken}) == SIZE - 1


def test_every_waiting_thread_gets_a_connection_after_checkin(tmp_path: Path, poolclass: type[QueuePool]):
    engine = create_engine(
        f"sqlite:///{tmp_path}/x.db", poolclass=poolclass, pool_size=1, max_overflow=0, pool_timeout=30
    )
    got: list[float] = []

    def wait() -> None:
        with closing(check_out(engine)):
            got.append(time.monotonic())

    for _ in range(20):
        held = check_out(engine)
        waiting = [threading.Thread(target=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        time.sleep(0.01)
        given_back = time.monotonic()
        held.close()
        for thread in waiting:
            thread.join(60)
        assert len(got) == 3, "a waiting thread was not woken"
        assert max(got) - given_back < 5
        got.clear()
    engine.dispose()


def test_threads_never_share_a_connection_and_no_wakeup_is_lost(tmp_path: Path, poolclass: type[QueuePool]):
    engine = create_engine(
        f"sqlite:///{tmp_path}/x.db", poolclass=poolclass, pool_size=SIZE, max_overflow=0, pool_timeout=30
    )
    busy: set[int] = set()
    shared, made = [], set()

    def work(_: int) -> None:
        for number in range(300):
            with closing(check_out(engine)) as connection:
                driver = id(connection.dbapi_connection)
                if driver in busy:
                    shared.append(driver)
                busy.add(driver)
                made.add(driver)
                if number % 7 == 0:
                    time.sleep(0)  # yield to another thread
                busy.discard(driver)

    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert not shared
    assert len(made) <= SIZE
    assert time.monotonic() - began < 30, "a waiting thread was not woken before its timeout"
    assert engine.pool.checkedout() == 0
    engine.dispose()


def test_a_woken_thread_waits_again_if_the_connection_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A thread that does not wait takes a connection without the lock, between wakeup and popleft."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/x.db", poolclass=Pool, pool_size=SIZE, max_overflow=0, pool_timeout=30
    )

    def taken_by_another(queue: Queue[Any]) -> Any:
        monkeypatch.undo()
        raise IndexError

    taken = [check_out(engine) for _ in range(SIZE)]
    monkeypatch.setattr(Queue, "_get", taken_by_another)
    queue: Any = engine.pool
    last = taken.pop()

    def give_back() -> None:
        until(lambda: queue.waiting)
        last.close()

    giving = threading.Thread(target=give_back)
    giving.start()
    taken.append(check_out(engine))
    giving.join()
    assert Queue._get is not taken_by_another, "the race was simulated"
    for connection in taken:
        connection.close()
    engine.dispose()


def test_an_invalidated_connection_frees_its_place_in_the_pool(engine: Engine):
    for _ in range(2 * SIZE):
        connection = check_out(engine)
        driver = connection.dbapi_connection
        connection.invalidate()
        connection.close()
        with pytest.raises(sqlite3.ProgrammingError):
            driver.execute("SELECT 1")
    taken = [check_out(engine) for _ in range(SIZE)]
    for connection in taken:
        connection.close()


@pytest.mark.filterwarnings("ignore:Can't invalidate an already-closed connection")  # only SQLAlchemy's warns
def test_a_closed_connection_cannot_be_used_and_is_returned_once(engine: Engine):
    connection = check_out(engine)
    assert connection.is_valid
    assert connection.driver_connection is connection.dbapi_connection
    connection.close()
    connection.close()
    connection.invalidate()
    assert not connection.is_valid
    assert connection.dbapi_connection is connection.driver_connection is None
    assert engine.pool.checkedin() == 1, "returned once, and open"
    with closing(check_out(engine)) as again:
        again.cursor().execute("SELECT 1")


def test_sqlalchemy_returns_a_connection_after_commit_rollback_and_error(engine: Engine):
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE x (y INTEGER)"))
        connection.commit()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO x VALUES (1)"))
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO x VALUES (2)"))  # without commit
    with engine.connect() as connection:
        assert connection.execute(text("SELECT y FROM x")).scalars().all() == [1]
        connection.invalidate()
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(text("nonsense"))
    assert engine.pool.checkedout() == 0
    assert {check_out(engine) for _ in range(SIZE)}, "all connections of the pool are free"


@pytest.mark.filterwarnings("error")
def test_the_isolation_level_of_a_checkout_is_restored_at_checkin(engine: Engine):
    with engine.connect() as connection:
        before = connection.connection.dbapi_connection.isolation_level
        connection.connection.info["kept"] = 1
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.connection.dbapi_connection.isolation_level is None
        assert connection.info == {"kept": 1}, "info lasts as long as the connection"
        connection.execute(text("SELECT 1"))
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.isolation_level == before
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.invalidate()
    with engine.connect() as connection:
        assert connection.info == {}
    assert check_out(engine)._connection_record.finalize_callback == deque()


@pytest.mark.parametrize("which", ["the first", "one that follows"])
def test_a_failed_connect_frees_its_place_in_the_pool(tmp_path: Path, poolclass: type[QueuePool], which: str):
    folder = tmp_path / "folder"
    engine = create_engine(
        f"sqlite:///{folder}/x.db", poolclass=poolclass, pool_size=1, max_overflow=0, pool_timeout=0.1
    )
    if which != "the first":
        folder.mkdir()
        check_out(engine).invalidate()
        folder.rename(tmp_path / "elsewhere")
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError):
            check_out(engine)
    folder.mkdir()
    check_out(engine).close()


def test_dispose_creates_an_empty_pool_of_the_same_class(engine: Engine):
    check_out(engine).close()
    before = engine.pool
    engine.dispose()
    assert engine.pool is not before
    assert type(engine.pool) is type(before)
    assert (engine.pool.size(), engine.pool.checkedin()) == (SIZE, 0)
