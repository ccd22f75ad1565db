"""Prepared statements equal Core's in values and rows; the PostgreSQL pipeline recovers from errors as psycopg's does."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from flask import Flask
from psycopg.errors import (
    AdminShutdown,
    DivisionByZero,
    FeatureNotSupported,
    InFailedSqlTransaction,
    UndefinedTable,
)
from sqlalchemy import Integer, Text, bindparam, insert, literal, select, text, update

from taskapi.auth.tokens import User
from taskapi.database.base import db
from taskapi.database.engine import POOL_SIZE
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.pipeline import BEGIN, COMMIT, PipelinedStatement, TimeoutConnection
from taskapi.database.prepared import Prepared
from taskapi.database.server_statements import SLICE_ROWS
from taskapi.database.transactions import execute, fetch, reads, writes
from taskapi.database.unit_of_work import running_unit
from taskapi.tasks.models import Task
from taskapi.tasks.models import User as Counters
from tests.conftest import Person
from tests.waiting import until

ALICE = User("alice")

OWNER = bindparam("owner")
TITLES = Prepared(select(Task.id, Task.title).where(Task.user_id == OWNER).order_by(Task.id))
NONE = Prepared(select(Task.id).where(Task.user_id == OWNER, Task.id < 0))
RENAME = Prepared(update(Task).where(Task.user_id == OWNER).values(title=bindparam("new")).returning(Task.title))
ECHO = Prepared(select(bindparam("text", type_=Text).label("echo")))


@pytest.fixture
def app(app_in_context: Flask) -> Flask:
    return app_in_context


@reads
def read(_owner: User, *calls: Any) -> Any:
    return fetch(*calls)


@writes
def write(_owner: User, *calls: Any) -> Any:
    return fetch(*calls)


def test_prepared_statements_return_the_rows_that_core_returns(alice: Person):
    alice.add(
        "Everything",
        description="two\nlines",
        tags=["a b", "ß"],
        priority="high",
        due_date="2026-02-28",
        due_time="09:30",
        time_zone="Europe/Berlin",
        recurrence="FREQ=DAILY",
    )
    alice.patch("/1/complete")
    alice.add("Next to nothing")
    columns = list(Task.__table__.c)
    statement = select(*columns).where(Task.user_id == OWNER).order_by(Task.id)

    @reads
    def both(owner: User) -> Any:
        return execute(statement, {"owner": owner.id}).all(), fetch(Prepared(statement)(owner=owner.id))[0]

    by_core, prepared = both(ALICE)
    assert [tuple(row) for row in prepared] == [tuple(row) for row in by_core]
    assert [[type(cell) for cell in row] for row in prepared] == [[type(cell) for cell in row] for row in by_core]
    first = prepared[0]
    assert first.tags == ("a b", "ß")
    assert first.completed is True
    assert first.due_date == date(2026, 2, 28)
    assert first.completed_at.utcoffset() == datetime.now(UTC).utcoffset()


def test_prepared_statements_convert_values_as_core_does(app: Flask):
    assert app
    written_at = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
    names = ("title", "folded_title", "completed", "created_at", "updated_at", "tags", "due_date")
    values = dict(zip(names, ("t", "t", True, written_at, written_at, ("x", "y"), date(2026, 1, 2)), strict=True))
    statement = insert(Task).values(
        user_id=OWNER, id=1, revision=1, **{name: bindparam(name, type_=Task.__table__.c[name].type) for name in names}
    )
    ((row,),) = write(
        ALICE, Prepared(statement.returning(*(Task.__table__.c[name] for name in names)))(owner="alice", **values)
    )
    assert row._asdict() == values


def test_columns_with_the_same_name_are_separate_cells(app: Flask):
    assert app
    twice = Prepared(select(literal(1, Integer).label("n"), literal(2, Integer).label("n")))
    ((row,),) = read(ALICE, twice())
    assert tuple(row) == (1, 2)


def test_fetch_returns_the_rows_of_each_of_several_statements(alice: Person):
    alice.add("One")
    alice.add("Two")
    titles, echo, nothing = read(ALICE, TITLES(owner="alice"), ECHO(text="%s $1 ' 💧"), NONE(owner="alice"))
    assert [tuple(row) for row in titles] == [(1, "One"), (2, "Two")]
    assert [row.echo for row in echo] == ["%s $1 ' 💧"]
    assert len(nothing) == 0


def test_a_statement_sees_the_writes_of_earlier_statements_in_the_same_fetch(alice: Person):
    alice.add("Before")
    renamed, titles = write(ALICE, RENAME(owner="alice", new="After"), TITLES(owner="alice"))
    assert [row.title for row in renamed] == ["After"]
    assert [row.title for row in titles] == ["After"]
    assert alice.titles() == ["After"]


def test_a_failed_statement_rolls_back_the_earlier_ones_of_the_same_fetch(alice: Person):
    alice.add("Before")
    again = insert(Counters).values(user_id=OWNER, revision=0, last_task_id=0, epoch="").returning(Counters.user_id)
    with pytest.raises(Exception, match=r"(?i)unique"):
        write(ALICE, RENAME(owner="alice", new="After"), Prepared(again)(owner="alice"))
    assert alice.titles() == ["Before"]


def test_prepared_and_core_statements_share_a_transaction(alice: Person):
    alice.add("Before")

    @writes
    def mixed(owner: User, *, core_first: bool) -> list[str]:
        if core_first:
            execute(update(Task).where(Task.user_id == owner.id).values(title="By Core"))
        else:
            fetch(RENAME(owner=owner.id, new="Prepared"))
        seen: list[str] = [row.title for row in fetch(TITLES(owner=owner.id))[0]]
        seen += execute(select(Task.title).where(Task.user_id == owner.id)).scalars()
        raise LookupError(seen)

    for core_first, title in ((True, "By Core"), (False, "Prepared")):
        with pytest.raises(LookupError) as caught:
            mixed(ALICE, core_first=core_first)
        assert caught.value.args[0] == [title, title]
        assert alice.titles() == ["Before"]


# Connections of the pool after errors.


def each_pooled(act: Callable[[Any], object]) -> list[Any]:
    """Call `act` with every connection of a full pool; return the connections."""
    with ExitStack() as stack:
        pooled = [stack.enter_context(closing(db.engine.raw_connection())) for _ in range(POOL_SIZE)]
        drivers = [connection.dbapi_connection for connection in pooled]
        for driver in drivers:
            act(driver)
        return drivers


def on_postgresql() -> bool:
    return db.engine.dialect.name == "postgresql"


def test_statements_deallocated_on_every_pooled_connection_are_prepared_again(alice: Person):
    alice.add("There")
    for _ in range(POOL_SIZE):
        alice.add()
    if on_postgresql():
        each_pooled(lambda driver: driver.execute("DEALLOCATE ALL"))
    for _ in range(POOL_SIZE):
        assert "There" in alice.titles()
        alice.add()


def test_a_connection_whose_rollback_fails_is_not_returned_to_the_pool(alice: Person):
    assert alice

    @writes
    def refused(owner: User) -> None:
        fetch(TITLES(owner=owner.id))
        if on_postgresql():
            work = running_unit.get()
            assert work
            work.execute(text("DEALLOCATE ALL"), None, "")  # the prepared ROLLBACK is gone, too
        raise LookupError

    for _ in range(2 * POOL_SIZE):
        with pytest.raises((LookupError, DatabaseUnavailable)):
            refused(ALICE)
    open_ones = []
    each_pooled(lambda driver: open_ones.append(driver.in_transaction))
    assert open_ones == [False] * POOL_SIZE


def test_checked_out_connections_are_closed_at_checkin_after_the_pool_was_replaced(
    alice: Person, postgresql_server: str
):
    if not on_postgresql():
        return  # SQLite has no server
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi'"
    with psycopg.connect(postgresql_server, autocommit=True) as operator:

        def connections() -> int:
            (found,) = operator.execute(count).fetchall()
            return int(found[0])

        before = connections()  # of other tests' applications

        @reads
        def busy(owner: User, depth: int) -> None:
            fetch(TITLES(owner=owner.id))
            if depth:
                in_another_thread(lambda: busy(owner, depth - 1))
            else:
                in_another_thread(lose_one)

        def lose_one() -> None:
            with closing(db.engine.raw_connection()) as idle:
                pid = idle.dbapi_connection.info.backend_pid
            operator.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert alice.titles() == []

        def in_another_thread(work: Callable[[], object]) -> None:
            def run() -> None:
                with alice.client.application.app_context():
                    work()

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()

        gc.disable()
        try:
            for _ in range(3):
                busy(ALICE, 4)
            # The server notices closed connections with a delay.
            until(lambda: connections() - before <= 3, otherwise="connections of earlier pools are still open")
        finally:
            gc.enable()


def test_a_write_whose_connection_died_before_commit_is_retried(alice: Person):
    if not on_postgresql():
        return
    alice.add("Before")
    times = []

    @writes
    def unaware(owner: User) -> None:
        times.append(owner)
        fetch(RENAME(owner=owner.id, new="After"))
        if len(times) == 1:
            work = running_unit.get()
            assert work
            work._pooled.dbapi_connection.close()

    unaware(ALICE)
    assert len(times) == 2
    assert alice.titles() == ["After"]


# The pipeline of PostgreSQL.


@pytest.fixture
def connection(postgresql_url: str) -> Iterator[TimeoutConnection]:
    with TimeoutConnection.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as made:
        assert isinstance(made, TimeoutConnection)
        yield made


ONE, ZERO = PipelinedStatement("SELECT 1::int"), PipelinedStatement("SELECT 1 / $1::int", (0,))
UNSUPPORTED = PipelinedStatement("SELECT count(*) FROM pg_class FOR UPDATE")  # 0A000: not with aggregates


STATEMENTS = {
    "values": [PipelinedStatement("SELECT $1::int + 1 AS n, $2::text, $3::bool", (1, "%s ' 💧", None))],
    "several": [ONE, PipelinedStatement("SELECT x, now()::date FROM generate_series(1, 3) AS x"), ONE],
    "no rows": [BEGIN, PipelinedStatement("SELECT 1 WHERE false"), COMMIT],
    "types": [PipelinedStatement("SELECT 1.5::numeric, 2::bigint, 'x'::bytea, '2026-01-02T03:04:05Z'::timestamptz")],
    "an error": [ONE, ZERO, ONE],
    "an error in a transaction": [BEGIN, ZERO],
}


@pytest.mark.parametrize("statements", STATEMENTS.values(), ids=STATEMENTS)
def test_a_pipeline_returns_rows_errors_and_transaction_status_as_psycopg_s_own_does(
    connection: TimeoutConnection, statements: list[PipelinedStatement]
):
    def by_psycopg() -> list[Any]:
        with connection.pipeline():
            cursors = [psycopg.RawCursor(connection).execute(each.sql, each.values) for each in statements]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

    def outcome(run: Callable[[], list[Any]]) -> Any:
        try:
            rows: Any = [[(cells, [*map(type, cells)]) for cells in result] for result in run()]
        except psycopg.Error as error:
            rows = type(error), error.sqlstate, str(error).partition("\n")[0]
        status = connection.info.transaction_status
        connection.rollback()
        return rows, status

    expected = outcome(by_psycopg)
    for _ in range(2):  # prepares, and executes what is prepared
        assert outcome(lambda: [*connection.run_pipeline(statements)]) == expected


def test_a_commit_that_the_server_turns_into_a_rollback_is_an_error(connection: TimeoutConnection):
    with pytest.raises(DivisionByZero):
        connection.run_pipeline([BEGIN, ZERO])
    with pytest.raises(InFailedSqlTransaction):
        connection.run_pipeline([COMMIT])
    assert not connection.in_transaction


def test_a_connection_is_usable_after_a_failed_pipeline(connection: TimeoutConnection):
    for _ in range(3):  # first not prepared, then prepared
        with pytest.raises(DivisionByZero):
            connection.run_pipeline([ONE, ZERO, ONE])
        assert not connection.in_transaction
        assert connection.run_pipeline([ONE]) == [[(1,)]]
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_statement_that_failed_to_parse_is_prepared_again_later(connection: TimeoutConnection):
    late = PipelinedStatement("SELECT count(*)::int FROM pg_temp.late")
    for _ in range(2):
        with pytest.raises(UndefinedTable):
            connection.run_pipeline([ONE, late])
    connection.execute("CREATE TEMP TABLE late (x int)")
    assert connection.run_pipeline([ONE, late]) == [[(1,)], [(0,)]]


def test_each_statement_text_is_prepared_once(connection: TimeoutConnection):
    for _ in range(5):
        connection.run_pipeline([ONE, ONE])
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,)


def test_statements_prepared_before_a_failure_are_not_prepared_again(connection: TimeoutConnection):
    for _ in range(5):
        with pytest.raises(DivisionByZero):
            connection.run_pipeline([ONE, ZERO])
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (2,)


def test_a_changed_result_type_closes_the_connection(connection: TimeoutConnection):
    connection.execute("CREATE TEMP TABLE changing (x int)")
    look = PipelinedStatement("SELECT x FROM pg_temp.changing")
    connection.run_pipeline([look])
    connection.execute("ALTER TABLE changing ALTER x TYPE text")
    with pytest.raises(FeatureNotSupported):
        connection.run_pipeline([look])
    assert connection.closed


def test_an_unsupported_feature_of_a_new_statement_leaves_the_connection_open(connection: TimeoutConnection):
    connection.run_pipeline([ONE])
    with pytest.raises(FeatureNotSupported):
        connection.run_pipeline([ONE, UNSUPPORTED, ONE])
    assert not connection.closed


def test_prepared_statement_names_differ_between_connections(postgresql_url: str):
    url = postgresql_url.replace("+psycopg", "")
    with (
        TimeoutConnection.connect(url, autocommit=True) as one,
        TimeoutConnection.connect(url, autocommit=True) as other,
    ):
        names = []
        for each in (one, other):
            assert isinstance(each, TimeoutConnection)
            each.run_pipeline([ONE])
            names.append(each.execute("SELECT name FROM pg_prepared_statements").fetchone())
        assert names[0] != names[1]


def test_statements_without_a_result_return_no_rows(connection: TimeoutConnection):
    assert connection.run_pipeline([PipelinedStatement("BEGIN"), ONE, PipelinedStatement("COMMIT")]) == [(), [(1,)], ()]


def test_values_and_rows_larger_than_the_socket_buffers_are_transferred(connection: TimeoutConnection):
    large = "x" * 20_000_000
    echo = PipelinedStatement("SELECT $1::text", (large,))
    assert connection.run_pipeline([echo, echo]) == [[(large,)], [(large,)]]


@pytest.mark.parametrize(
    ("count", "yields"), [(SLICE_ROWS, 0), (SLICE_ROWS + 1, 1), (2 * SLICE_ROWS, 1), (5 * SLICE_ROWS + 1, 5)]
)
def test_a_long_result_yields_to_other_requests_between_slices_and_not_in_a_transaction(
    connection: TimeoutConnection, monkeypatch: pytest.MonkeyPatch, count: int, yields: int
):
    made: list[int] = []
    made_at_yields: list[int] = []
    monkeypatch.setattr("taskapi.database.server_statements.wait_for_turn", lambda: made_at_yields.append(len(made)))

    def make(cells: Any) -> int:
        made.append(cells[0])
        return made[-1]

    long = PipelinedStatement("SELECT generate_series(1, $1::int)", (count,), make)
    assert connection.run_pipeline([long]) == [[*range(1, count + 1)]]
    assert made_at_yields == [SLICE_ROWS * number for number in range(1, yields + 1)]
    assert connection.run_pipeline([BEGIN, long])[1] == [*range(1, count + 1)]
    assert len(made_at_yields) == yields, "the transaction may hold the lock of a user's row"
    connection.rollback()


def test_a_terminated_backend_raises_the_server_s_reason(connection: TimeoutConnection):
    with pytest.raises(AdminShutdown):
        connection.run_pipeline([PipelinedStatement("SELECT pg_terminate_backend(pg_backend_pid())"), ONE])
    assert connection.closed


def test_a_backend_terminated_while_idle_is_an_operational_error(connection: TimeoutConnection, postgresql_server: str):
    with psycopg.connect(postgresql_server) as operator:
        operator.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        connection.run_pipeline([ONE])
    assert connection.closed


def test_an_interrupted_pipeline_closes_the_connection(connection: TimeoutConnection, monkeypatch: pytest.MonkeyPatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "_wait_readable", interrupt)
    with pytest.raises(KeyboardInterrupt):
        connection.run_pipeline([PipelinedStatement("SELECT pg_sleep(0.2)")])
    assert connection.closed


def test_psycopg_s_own_methods_work_beside_run_pipeline(connection: TimeoutConnection):
    connection.run_pipeline([ONE])
    with connection.transaction():
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.run_pipeline([ONE]) == [[(1,)]]
    assert not connection.in_transaction
