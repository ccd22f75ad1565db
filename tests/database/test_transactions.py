"""Transactions, retries and 503 responses of units of work, on real databases with real failures."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from flask import Flask
from psycopg.errors import ConnectionTimeout, FeatureNotSupported, QueryCanceled
from sqlalchemy import Select, column, create_engine, func, insert, make_url, select, table, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, StatementError

import taskapi.database.engine
import taskapi.database.server_timeout
import taskapi.database.transactions
from taskapi.auth.tokens import User
from taskapi.database.base import UTCDateTime, db, now
from taskapi.database.engine import POOL_SIZE, POOL_TIMEOUT
from taskapi.database.failures import ATTEMPTS, DatabaseUnavailable
from taskapi.database.prepared import Prepared
from taskapi.database.sqlite import EXTRA_CONNECTIONS
from taskapi.database.transactions import execute, fetch, reads, rows, writes
from tests.conftest import Person, build, superuser_engine
from tests.waiting import WAIT_LIMIT

ALICE = User("alice")


@reads
def revision(owner: User) -> int | None:
    found: int | None = execute(text("SELECT revision FROM users WHERE user_id = :id"), {"id": owner.id}).scalar()
    return found


@writes
def start(owner: User, at: int = 1) -> None:
    execute(
        text("INSERT INTO users (user_id, revision, last_task_id, epoch) VALUES (:id, :at, 0, '')"),
        {"id": owner.id, "at": at},
    )


@writes
def step(owner: User) -> None:
    execute(text("UPDATE users SET revision = revision + 1 WHERE user_id = :id"), {"id": owner.id})


@pytest.fixture
def app(app_in_context: Flask) -> Flask:
    return app_in_context


@pytest.fixture
def postgresql(app: Flask) -> Engine:
    """The engine of the application; skips the test on SQLite."""
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer and no such failure")
    return db.engine


@pytest.fixture
def operator(postgresql: Engine) -> Iterator[Engine]:
    """Another client of the same PostgreSQL server, as superuser."""
    engine = create_engine(superuser_engine().url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


# Transactions.


def test_a_write_is_committed_when_it_returns(app: Flask):
    start(ALICE)
    assert revision(ALICE) == 1


def test_a_write_that_raises_leaves_nothing(app: Flask):
    @writes
    def fail(owner: User) -> None:
        start(owner)
        assert revision(owner) == 1  # a read inside the write sees its uncommitted row
        raise LookupError

    with pytest.raises(LookupError):
        fail(ALICE)
    assert revision(ALICE) is None


def test_a_write_inside_a_write_joins_its_transaction(app: Flask):
    @writes
    def both(owner: User, *, fail: bool) -> None:
        step(owner)
        step(owner)
        if fail:
            raise LookupError

    start(ALICE)
    with pytest.raises(LookupError):
        both(ALICE, fail=True)
    assert revision(ALICE) == 1
    both(ALICE, fail=False)
    assert revision(ALICE) == 3


def test_a_failed_statement_of_an_inner_write_rolls_back_the_outer_one(app: Flask):
    @writes
    def twice(owner: User) -> None:
        start(owner)
        start(owner)

    with pytest.raises(DBAPIError):
        twice(ALICE)
    assert revision(ALICE) is None


def test_a_write_inside_a_read_is_refused(app: Flask):
    @reads
    def wrong(owner: User) -> None:
        step(owner)

    start(ALICE)
    with pytest.raises(RuntimeError, match="marked @writes was called inside a function marked @reads"):
        wrong(ALICE)
    assert revision(ALICE) == 1


def test_a_statement_outside_of_reads_and_writes_is_refused(app: Flask):
    with pytest.raises(RuntimeError, match="outside of a function marked @reads or @writes"):
        execute(text("SELECT 1"))


def test_the_connection_is_unreachable_after_the_unit_of_work(app: Flask):
    start(ALICE)
    with pytest.raises(RuntimeError):
        execute(text("SELECT 1"))
    with pytest.raises(LookupError):
        _fail(ALICE)
    with pytest.raises(RuntimeError):
        execute(text("SELECT 1"))


@writes
def _fail(_owner: User) -> None:
    raise LookupError


def test_decorated_functions_keep_their_signature_and_docstring(app: Flask):
    @reads
    def echo(owner: User, word: str, *, times: int) -> str:
        """A docstring."""
        return f"{owner.id} {word * times}"

    assert echo(ALICE, "ab", times=2) == "alice abab"
    assert echo.__doc__ == "A docstring."


def test_each_statement_of_a_read_sees_what_is_committed_by_then(app: Flask):
    @reads
    def twice(owner: User) -> list[int | None]:
        before = revision(owner)
        other = threading.Thread(target=lambda: _in_context(app, step, owner))
        other.start()
        other.join()
        return [before, revision(owner)]

    start(ALICE)
    assert twice(ALICE) == [1, 2]


def _in_context(app: Flask, work: Callable[..., Any], *arguments: Any) -> Any:
    with app.app_context():
        return work(*arguments)


def test_concurrent_writes_of_one_user_are_serialized_without_lost_updates(app: Flask):
    start(ALICE)
    threads = [threading.Thread(target=_in_context, args=(app, step, ALICE)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert revision(ALICE) == 17


def test_a_statement_without_a_user_runs_on_its_own(app: Flask):
    assert rows(text("SELECT version_num FROM alembic_version"))


# Retries.


def test_a_deadlock_is_retried_until_both_transactions_commit(app: Flask, postgresql: Engine):
    start(ALICE)
    start(User("bob"))
    meeting = threading.Barrier(2)
    attempts: list[str] = []
    failures: list[Exception] = []

    @writes
    def cross(owner: User, first: int, second: int) -> None:
        attempts.append(owner.id)
        step(owner)
        execute(lock(first))
        if attempts.count(owner.id) == 1:
            meeting.wait(60)  # each holds the row that the other locks next
        execute(lock(second))

    def lock(number: int) -> Select[Any]:
        return select(func.pg_advisory_xact_lock(number))

    def run(*args: Any) -> None:
        try:
            _in_context(app, cross, *args)
        except Exception as error:  # noqa: BLE001  any would be a failure
            failures.append(error)

    both = ((ALICE, 1, 2), (User("bob"), 2, 1))
    threads = [threading.Thread(target=run, args=args) for args in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(attempts) >= 3, "there was no deadlock"
    assert revision(ALICE) == revision(User("bob")) == 2


def serialized(operator: Engine, disturbances: int) -> tuple[Callable[[User], None], list[int]]:
    """Return a write that meets so many serialization failures, and the list of its attempts."""
    attempts: list[int] = []
    db.engine.update_execution_options(isolation_level="REPEATABLE READ")

    @writes
    def work(owner: User) -> None:
        attempts.append(revision(owner) or 0)
        if len(attempts) <= disturbances:
            with operator.connect() as other:
                other.execute(text("UPDATE users SET revision = revision + 100 WHERE user_id = 'alice'"))
        step(owner)

    return work, attempts


def test_a_serialization_failure_is_retried(operator: Engine):
    start(ALICE)
    work, attempts = serialized(operator, disturbances=2)
    work(ALICE)
    assert attempts == [1, 101, 201]
    assert revision(ALICE) == 202


def test_retries_are_limited(operator: Engine):
    start(ALICE)
    work, attempts = serialized(operator, disturbances=99)
    with pytest.raises(OperationalError) as caught:
        work(ALICE)
    assert getattr(caught.value.orig, "sqlstate", None) == "40001"
    assert len(attempts) == ATTEMPTS


@pytest.mark.parametrize("cause", [ConnectionTimeout(), QueryCanceled()], ids=["no response", "statement timeout"])
def test_a_connection_lost_after_a_timeout_is_not_retried(cause: Exception):
    """With Citus the rollback after a statement timeout waits for the frozen node, too, and the connection is given up."""
    lost = SimpleNamespace(lost=True, is_committing=False, writable=False)
    assert not taskapi.database.transactions._may_retry(cause, lost)
    assert taskapi.database.transactions._may_retry(psycopg.OperationalError(), lost)


def test_other_errors_are_not_retried(app: Flask):
    attempts = []

    @writes
    def work(owner: User) -> None:
        attempts.append(owner)
        execute(text("SELECT * FROM nothing"))

    with pytest.raises(DBAPIError):
        work(ALICE)
    assert len(attempts) == 1


def kill(operator: Engine) -> int:
    """Terminate every connection of the service, as a restart of the server does; return their number."""
    with operator.connect() as connection:
        statement = (
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'taskapi'"
        )
        killed: int = connection.execute(text(statement)).scalar_one()
        return killed


def test_a_connection_that_died_in_the_pool_is_replaced_without_an_error(app: Flask, operator: Engine):
    alice = Person(app.test_client(), "alice")
    alice.add("Before")
    for act in (alice.titles, lambda: alice.add("After"), lambda: alice.delete("/1")):
        assert kill(operator) >= 1
        act()
    assert alice.titles() == ["After"]


def test_a_pool_of_dead_connections_is_replaced(app: Flask, operator: Engine):
    with ExitStack() as connections:
        for _ in range(POOL_SIZE):
            connections.enter_context(db.engine.connect()).execute(text("SELECT 1"))
    assert kill(operator) >= POOL_SIZE  # one of the test before may just be ending
    start(ALICE)
    assert revision(ALICE) == 1


def test_a_write_whose_connection_is_lost_before_commit_is_retried_and_made_once(operator: Engine):
    attempts = []

    @writes
    def work(owner: User) -> None:
        attempts.append(owner)
        start(owner)
        if len(attempts) == 1:
            kill(operator)
        step(owner)

    work(ALICE)
    assert len(attempts) == 2
    assert revision(ALICE) == 2


def test_a_write_whose_connection_is_lost_during_commit_is_uncertain_and_not_retried(operator: Engine):
    attempts = []
    with operator.connect() as connection:
        for statement in (
            "CREATE TABLE fragile (x int)",
            "GRANT INSERT ON fragile TO PUBLIC",
            """CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$""",
            # Deferred: it fires inside of COMMIT.
            """CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON fragile
               DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()""",
        ):
            connection.execute(text(statement))

    @writes
    def work(owner: User) -> None:
        attempts.append(owner)
        execute(text("INSERT INTO fragile VALUES (1)"))

    try:
        with pytest.raises(DatabaseUnavailable) as caught:
            work(ALICE)
    finally:
        with operator.connect() as connection:
            connection.execute(text("DROP TABLE fragile"))
            connection.execute(text("DROP FUNCTION lose"))
    assert caught.value.uncertain
    assert len(attempts) == 1


def test_a_frozen_server_is_503_and_a_connection_that_answers_is_made_afterwards(
    app: Flask, operator: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A frozen server does not run its statement timeout, and its kernel still acknowledges packets."""
    alice = Person(app.test_client(), "alice")
    unchanged, unknown = "Nothing was changed", "The database was lost while the change was being saved."
    for act, detail in (
        (alice.get, unchanged),
        (lambda: alice.put("/1", json={"due_date": "2027-01-01"}), unchanged),  # COMMIT follows later
        (lambda: alice.post(json={"title": "x"}), unknown),  # the server may still execute it with the COMMIT
        # By way of SQLAlchemy, which waits for the server in another way.
        (lambda: alice.data("GET", "/stats"), unchanged),
    ):
        alice.add()
        with operator.connect() as connection:
            pids = connection.execute(text("SELECT pid FROM pg_stat_activity WHERE application_name = 'taskapi'"))
            frozen = list(pids.scalars())
        try:
            for pid in frozen:
                with suppress(ProcessLookupError):  # one of the connections before may just be ending
                    os.kill(pid, signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(taskapi.database.server_timeout, "SERVER_TIMEOUT", 1)
                began = time.monotonic()
                response = act()
                assert time.monotonic() - began < WAIT_LIMIT / 2
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            assert detail in response.get_json()["detail"]
            assert alice.get().status_code == 200
        finally:
            for pid in frozen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def test_a_busy_process_does_not_count_its_own_delay_as_server_silence(
    app: Flask, postgresql: Engine, monkeypatch: pytest.MonkeyPatch
):
    """A wall-clock timeout gave up results that had arrived while the process executed other requests."""
    assert postgresql
    alice = Person(app.test_client(), "alice")
    alice.add()
    monkeypatch.setattr(taskapi.database.server_timeout, "SERVER_TIMEOUT", 0.8)
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            pass

    others = [threading.Thread(target=compute) for _ in range(2)]
    switching = sys.getswitchinterval()
    sys.setswitchinterval(0.45)  # so each comes back to its work after 0.9 s
    try:
        for other in others:
            other.start()
        assert alice.get("/1").status_code == 200
    finally:
        over.set()
        sys.setswitchinterval(switching)
        for other in others:
            other.join()


# What a failure means.


def test_a_missing_table_is_500_and_not_503(app: Flask):
    """SQLite raises OperationalError here, which a general rule once mapped to 503."""

    @reads
    def work(_owner: User) -> None:
        execute(text("SELECT * FROM nothing"))

    with pytest.raises((OperationalError, ProgrammingError)):
        work(ALICE)


def test_an_invalid_statement_is_500_and_not_503(app: Flask):
    @reads
    def work(_owner: User) -> None:
        execute(text("SELEKT 1"))

    with pytest.raises((OperationalError, ProgrammingError)):
        work(ALICE)


def test_a_feature_that_the_server_does_not_support_is_500_and_not_503(operator: Engine):
    """SQLSTATE 0A000: also what PostgreSQL says after a migration has changed the result type of a statement."""
    with operator.connect() as connection:
        raising = "RAISE 'not supported' USING ERRCODE = '0A000'"
        connection.execute(
            text(f"CREATE FUNCTION unsupported() RETURNS int LANGUAGE plpgsql AS $$BEGIN {raising}; END$$")
        )
    statement = Prepared(select(func.unsupported()))
    try:
        for work in (reads(lambda _: fetch(statement())), writes(lambda _: execute(select(func.unsupported())))):
            for _ in range(3):  # the second time the statement is prepared already
                with pytest.raises((FeatureNotSupported, DBAPIError), match="not supported"):
                    work(ALICE)
    finally:
        with operator.connect() as connection:
            connection.execute(text("DROP FUNCTION unsupported()"))


def test_a_changed_result_type_is_500_for_no_request(operator: Engine):
    with operator.connect() as connection:
        connection.execute(text("CREATE TABLE changing AS SELECT 1 AS x"))
        connection.execute(text("GRANT SELECT ON changing TO PUBLIC"))
    statement = Prepared(select(table("changing", column("x")).c.x))
    read = reads(lambda _: fetch(statement())[0][0][0])
    try:
        assert read(ALICE) == 1
        with operator.connect() as connection:
            connection.execute(text("ALTER TABLE changing ALTER x TYPE text"))
        assert read(ALICE) == "1"
    finally:
        with operator.connect() as connection:
            connection.execute(text("DROP TABLE changing"))


@pytest.mark.usefixtures("production_timeouts")
def test_an_unreachable_database_is_503_within_seconds():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound by this test, and not listening
        app = build(f"postgresql://taskapi@127.0.0.1:{taken.getsockname()[1]}/taskapi")
        alice = Person(app.test_client(), "alice")
        begin = time.monotonic()
        for response in (alice.get(), alice.post(json={"title": "x"}), alice.get("/1"), alice.delete("/1")):
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
        assert time.monotonic() - begin < 7  # four waits for a connection would be 8


@pytest.mark.usefixtures("production_timeouts")
def test_a_database_that_accepts_and_never_responds_is_503_within_seconds():
    """A frozen server once hung requests: waiting for it needs a timeout in the client."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = build(f"postgresql://taskapi@127.0.0.1:{silent.getsockname()[1]}/taskapi")
        begin = time.monotonic()
        assert Person(app.test_client(), "alice").get().status_code == 503
        assert time.monotonic() - begin < 15


def test_a_file_that_is_not_a_database_is_503(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"not a database, " * 1000)
    app = build(f"sqlite:///{tmp_path}/x.db")
    assert Person(app.test_client(), "alice").get().status_code == 503
    with app.app_context():
        db.engine.dispose()


def test_a_standby_that_takes_no_writes_is_503(postgresql: Engine):
    @writes
    def work(owner: User) -> None:
        execute(text("SET TRANSACTION READ ONLY"))
        start(owner)

    with pytest.raises(DatabaseUnavailable) as caught:
        work(ALICE)
    assert not caught.value.uncertain


def test_a_row_locked_for_too_long_is_503_and_the_write_was_not_made(
    make_app: Callable[..., Flask], operator: Engine, monkeypatch: pytest.MonkeyPatch
):
    patient = Person(make_app().test_client(), "alice")
    patient.add()
    monkeypatch.setattr(
        taskapi.database.engine, "SESSION", {**taskapi.database.engine.SESSION, "statement_timeout": "300ms"}
    )
    alice = Person(make_app().test_client(), "alice")
    with operator.connect().execution_options(isolation_level="READ COMMITTED") as other, other.begin():
        other.execute(text("SELECT 1 FROM users FOR UPDATE"))
        response = alice.post(json={"title": "Too late"})
    assert response.status_code == 503
    assert "Nothing was changed" in response.get_json()["detail"]
    assert patient.titles() == ["Buy milk"]


@pytest.mark.usefixtures("production_timeouts")
def test_an_exhausted_pool_is_503_in_about_two_seconds(app: Flask):
    alice = Person(app.test_client(), "alice")
    alice.add()
    pool: Any = db.engine.pool
    with ExitStack() as connections:
        for _ in range(pool.size()):
            connections.enter_context(closing(db.engine.raw_connection()))
        begin = time.monotonic()
        response = alice.get()
        waited = time.monotonic() - begin
    assert response.status_code == 503
    assert POOL_TIMEOUT == 2
    assert 1.9 <= waited <= POOL_TIMEOUT + WAIT_LIMIT / 2  # the machine may stall
    assert alice.get().status_code == 200


# Settings.


def test_sqlite_uses_wal_and_synchronous_full(app: Flask):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("for SQLite")
    with db.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 0}


def test_postgresql_sessions_have_our_timeouts(postgresql: Engine):
    expected = {
        "TimeZone": "UTC",
        "statement_timeout": "5s",
        "idle_in_transaction_session_timeout": "5s",
        "application_name": "taskapi",
    }
    with postgresql.connect() as connection:
        found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in expected}
    assert found == expected


def test_the_pool_has_a_connection_for_each_slot_and_each_work_without_a_slot(app: Flask):
    pool: Any = db.engine.pool
    extra = EXTRA_CONNECTIONS if db.engine.dialect.name == "sqlite" else 0
    assert pool.size() == POOL_SIZE + extra
    with ExitStack() as connections:
        for _ in range(pool.size()):
            connections.enter_context(closing(db.engine.raw_connection()))
        assert pool.overflow() == 0


def test_the_engine_connects_lazily(database_url: str):
    app = build(database_url)
    with app.app_context():
        pool: Any = db.engine.pool
        app.test_client().get("/healthz")
        assert pool.checkedin() == pool.checkedout() == 0
        db.engine.dispose()


def test_a_password_with_special_characters_reaches_the_driver():
    app = build("postgres://taskapi:p%40ss%2Fword@db.example.com:6543/tasks")
    with app.app_context():
        assert db.engine.url.password == "p@ss/word"
        assert db.engine.url.drivername == "postgresql+psycopg"
        assert make_url(app.config["SQLALCHEMY_DATABASE_URI"]).port == 6543


# Times.


TIME = datetime(2026, 11, 21, 9, 30, 15, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(TIME, id="utc"),
        pytest.param(TIME.astimezone(timezone(timedelta(hours=5, minutes=45))), id="elsewhere"),
        pytest.param(TIME.replace(year=1), id="long-ago"),
        pytest.param(TIME.replace(year=9999), id="far-ahead"),
        pytest.param(None, id="none"),
    ],
)
def test_a_datetime_is_read_back_as_it_was_stored_in_utc(app: Flask, stored: datetime | None):
    from sqlalchemy import Column, Integer, MetaData, Table

    table = Table("stored_times", MetaData(), Column("id", Integer, primary_key=True), Column("at", UTCDateTime()))
    engine = superuser_engine()  # the service's role cannot create tables
    table.create(engine)
    try:
        with engine.begin() as connection:
            connection.execute(insert(table).values(id=1, at=stored))
        with engine.connect() as connection:
            (found,) = connection.execute(select(table.c.at)).one()
        assert found == stored
        assert stored is None or found.tzinfo is UTC or found.utcoffset() == timedelta(0)
        with engine.connect() as connection, pytest.raises(StatementError, match="naive datetime"):
            connection.execute(insert(table).values(id=2, at=datetime(2026, 11, 21, 9, 30)))  # noqa: DTZ001
    finally:
        table.drop(engine)


def test_now_is_in_utc_and_in_whole_milliseconds():
    before = datetime.now(UTC)
    times = [now() for _ in range(1000)]
    assert all(each.tzinfo is UTC and each.microsecond % 1000 == 0 for each in times)
    assert before - timedelta(milliseconds=1) <= times[0] <= times[-1] <= datetime.now(UTC)


def test_the_time_in_a_response_is_the_stored_one(app: Flask):
    alice = Person(app.test_client(), "alice")
    made = alice.add()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made["created_at"])
    assert alice.get("/1").get_json() == made
