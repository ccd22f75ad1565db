"""The cache of ended sessions: at most half a second old, few statements, and never a session that has not ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

import taskapi.database.base
import taskapi.database.engine
from taskapi.auth import queries, sessions
from taskapi.auth.logout_tokens import LogoutToken
from taskapi.auth.models import EndedSession, SeenLogoutToken
from taskapi.auth.sessions import EndedSessions
from taskapi.auth.tokens import User
from taskapi.database.base import db
from taskapi.database.failures import DatabaseUnavailable
from tests.auth.conftest import Clock
from tests.conftest import Statements, delete_all_rows, superuser_engine

ALICE, MALLORY = User("alice", "s-1"), User("mallory", "s-1")

# The documented numbers, and not the constants of the module.
FRESH_FOR = 0.5
REREAD_AFTER = 3600.0
GRACE = timedelta(hours=1)
MAX_LIFETIME = 10 * 366 * 86_400


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[[], datetime]:
    """The `now` of the modules, derived from the clock that the test advances."""

    def now() -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=clock.now)

    for module in (queries, sessions):
        monkeypatch.setattr(module, "now", now)
    return now


@pytest.fixture(autouse=True)
def context(app: Flask, calendar: object) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def two(clock: Clock) -> tuple[EndedSessions, EndedSessions]:
    """Two workers on one database."""
    return EndedSessions(max_lifetime=900, clock=clock), EndedSessions(max_lifetime=900, clock=clock)


_numbers = iter(range(10**9))


def logout_token(user: User, calendar: Callable[[], datetime] | None = None) -> LogoutToken:
    """Return a new logout token for the session of `user`."""
    return LogoutToken(f"n-{next(_numbers)}", user, (calendar or taskapi.database.base.now)() + timedelta(seconds=120))


def fill(*rows: tuple[int, str], user: str = "alice", expires_at: datetime = datetime(2099, 1, 1, tzinfo=UTC)) -> None:
    """Insert (number, session id) rows directly, as if written earlier or by another worker."""
    with superuser_engine().begin() as connection:
        for number, session in rows:
            row = {"user_id": user, "session_id": session, "number": number, "expires_at": expires_at}
            connection.execute(insert(EndedSession).values(**row))


def remove(*sessions: str) -> None:
    with superuser_engine().begin() as connection:
        connection.execute(EndedSession.__table__.delete().where(EndedSession.session_id.in_(sessions)))


@contextmanager
def outage() -> Iterator[None]:
    """Check out all connections of the pool."""
    with ExitStack() as connections:
        for _ in range(db.engine.pool.size()):
            connections.enter_context(db.engine.connect())
        yield


# Contents


def test_a_session_that_ended_at_this_worker_is_known_at_once(two: tuple[EndedSessions, EndedSessions]) -> None:
    here, _ = two
    assert not here.contains(ALICE)
    here.end(logout_token(ALICE))
    assert here.contains(ALICE)


def test_a_session_that_ended_at_another_worker_is_known_half_a_second_later(
    two: tuple[EndedSessions, EndedSessions], clock: Clock
) -> None:
    here, there = two
    assert not there.contains(ALICE)
    here.end(logout_token(ALICE))
    clock.now += FRESH_FOR - 0.01
    assert not there.contains(ALICE)
    clock.now += 0.01
    assert there.contains(ALICE)


def test_a_logout_ends_no_other_session(two: tuple[EndedSessions, EndedSessions]) -> None:
    here, there = two
    here.end(logout_token(ALICE))
    for view in two:
        assert view.contains(ALICE)
        for other in (MALLORY, User("alice", "s-2"), User("alice", "s"), User("ALICE", "s-1"), User("alice")):
            assert not view.contains(other), other
    there.end(logout_token(MALLORY))
    assert there.contains(MALLORY)


def test_the_cache_of_ended_sessions_reads_at_the_first_request_and_not_before(
    clock: Clock, statements: Statements
) -> None:
    """The application is loaded before the workers fork: rows read then would be stale in all of them."""
    EndedSessions(clock=clock).end(logout_token(ALICE))
    statements.clear()
    clock.now = 0.0  # the monotonic clock of a machine that has just started
    view = EndedSessions(clock=clock)
    assert not statements.sent
    assert view.contains(ALICE)
    assert len(statements.sent) == 1


# Statements


def test_a_token_without_a_session_costs_no_statement(view: EndedSessions, statements: Statements) -> None:
    for _ in range(10):
        assert not view.contains(User("alice"))
    assert not statements.sent


@pytest.mark.parametrize("ended", [0, 1, 50])
def test_tokens_with_a_session_cost_one_statement_per_half_second(
    clock: Clock, statements: Statements, ended: int
) -> None:
    fill(*((number, f"s-{number}") for number in range(1, ended + 1)))
    view = EndedSessions(clock=clock)
    statements.clear()
    for second in range(20):
        for _ in range(100):
            view.contains(ALICE)
            view.contains(MALLORY)
            clock.now += FRESH_FOR / 101
        assert len(statements.sent) == second + 1
        clock.now += FRESH_FOR


def test_a_refresh_reads_only_the_end_of_the_log(clock: Clock, statements: Statements) -> None:
    fill(*((number, f"s-{number}") for number in range(1, 51)))
    view = EndedSessions(clock=clock)
    assert view.contains(User("alice", "s-50"))
    clock.now += FRESH_FOR
    statements.clear()
    assert view.contains(User("alice", "s-50"))
    ((sql, parameters),) = statements.sent
    assert "ended_sessions.number >= " in sql
    assert 50 in (parameters.values() if isinstance(parameters, dict) else parameters)


def test_concurrent_requests_with_a_stale_cache_read_once(app: Flask, clock: Clock, statements: Statements) -> None:
    view = EndedSessions(clock=clock)
    for _ in range(5):
        start = threading.Barrier(8)

        def ask(start: threading.Barrier = start) -> bool:
            with app.app_context():
                start.wait()
                return view.contains(ALICE)

        statements.clear()
        with ThreadPoolExecutor(8) as pool:
            assert [done.result() for done in [pool.submit(ask) for _ in range(8)]] == [False] * 8
        assert len(statements.sent) == 1
        clock.now += FRESH_FOR


# Purged and restored logs


def test_purged_rows_leave_the_cache_within_an_hour(clock: Clock) -> None:
    fill((1, "s-1"), (2, "s-2"))
    view = EndedSessions(clock=clock)
    assert view.contains(ALICE)
    remove("s-1")
    clock.now += REREAD_AFTER - 1
    assert view.contains(ALICE)  # not needed any more, and harmless
    clock.now += 1
    assert not view.contains(ALICE)
    assert view.contains(User("alice", "s-2"))


def test_if_the_last_row_is_gone_the_whole_log_is_read(clock: Clock) -> None:
    fill((1, "s-1"), (2, "s-2"))
    view = EndedSessions(clock=clock)
    assert view.contains(ALICE)
    remove("s-1", "s-2")
    clock.now += FRESH_FOR
    assert not view.contains(ALICE)
    fill((1, "s-3"))
    clock.now += FRESH_FOR
    assert view.contains(User("alice", "s-3"))


@pytest.mark.parametrize("number", [1, 2, 3, 100], ids=["before", "the same", "after", "far after"])
def test_a_restored_or_restarted_log_is_read_completely(clock: Clock, number: int) -> None:
    fill((1, "s-1"), (2, "s-2"))
    view = EndedSessions(clock=clock)
    assert view.contains(ALICE)
    remove("s-1", "s-2")
    fill((number, "other"), (number + 1, "another"))
    clock.now += FRESH_FOR
    assert view.contains(User("alice", "other"))
    assert view.contains(User("alice", "another"))
    assert not view.contains(ALICE)


def test_after_a_restore_a_logout_with_a_reused_number_does_not_hide_earlier_ones(clock: Clock) -> None:
    """The database was restored to a state before logouts 1 and 2; another logout got number 1, and the second came again."""
    fill((1, "s-1"), (2, "s-2"))
    view = EndedSessions(clock=clock)
    assert view.contains(ALICE)
    remove("s-1", "s-2")
    fill((1, "hidden"), (2, "s-2"), expires_at=datetime(2099, 1, 2, tzinfo=UTC))
    clock.now += FRESH_FOR
    assert view.contains(User("alice", "hidden"))


def test_with_more_ended_sessions_than_fit_in_memory_each_request_queries_the_database(
    clock: Clock, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_IN_MEMORY", 3)
    fill(*((number, f"s-{number}") for number in range(1, 4)))
    view = EndedSessions(clock=clock)
    for step in range(4, 12):
        assert all(view.contains(User("alice", f"s-{number}")) for number in range(1, step)), step
        assert not view.contains(User("alice", f"s-{step}"))
        assert not view.contains(MALLORY)
        fill((step, f"s-{step}"))
        if step > 4:
            statements.clear()
            assert view.contains(User("alice", f"s-{step}"))  # known at once, because the database is queried
            assert len(statements.sent) == 1
        clock.now += FRESH_FOR
    # After a purge the rows fit into the memory again.
    remove(*(f"s-{number}" for number in range(1, 10)))
    clock.now += REREAD_AFTER
    assert view.contains(User("alice", "s-11"))
    statements.clear()
    assert view.contains(User("alice", "s-10"))
    assert not view.contains(ALICE)
    assert not statements.sent


@pytest.mark.parametrize("ended", [3, 4, 9])
def test_more_ended_sessions_than_fit_at_the_first_read_are_all_known(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    monkeypatch.setattr(sessions, "MAX_IN_MEMORY", 3)
    fill(*((number, f"s-{number}") for number in range(1, ended + 1)))
    view = EndedSessions(clock=clock)
    assert all(view.contains(User("alice", f"s-{number}")) for number in range(1, ended + 1))
    assert not view.contains(MALLORY)


def test_more_ended_sessions_than_fit_at_a_later_read_are_all_known(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_IN_MEMORY", 3)
    fill((1, "s-1"))
    view = EndedSessions(clock=clock)
    assert view.contains(ALICE)
    fill(*((number, f"s-{number}") for number in range(2, 20)))
    clock.now += FRESH_FOR
    assert all(view.contains(User("alice", f"s-{number}")) for number in range(1, 20))
    assert not view.contains(MALLORY)


# Database outages


@pytest.fixture
def without_pool_wait(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application that does not wait for a free connection."""
    monkeypatch.setattr(taskapi.database.engine, "POOL_TIMEOUT", 0)
    made = make_app()
    with made.app_context():
        yield made


def test_while_the_database_is_down_the_cache_is_valid_for_half_a_second_and_then_raises(
    without_pool_wait: Flask, clock: Clock
) -> None:
    view = EndedSessions(clock=clock)
    view.end(logout_token(ALICE))
    assert view.contains(ALICE)
    with outage():
        assert view.contains(ALICE)
        assert not view.contains(MALLORY)
        clock.now += FRESH_FOR
        for user in (ALICE, MALLORY):
            with pytest.raises(DatabaseUnavailable):
                view.contains(user)
        with pytest.raises(DatabaseUnavailable):
            view.end(logout_token(MALLORY))
        assert not view.contains(User("alice"))
    assert view.contains(ALICE)
    assert not view.contains(MALLORY)


def test_requests_that_wait_for_a_failing_read_fail_without_reads_of_their_own(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taskapi.database.engine, "POOL_TIMEOUT", 1)  # SQLAlchemy takes whole seconds
    app, view, reads, start = make_app(), EndedSessions(), [], threading.Barrier(6)
    read = queries.ended_sessions_since

    def count_and_read(since: int, most: int) -> Any:
        reads.append(since)
        return read(since, most)

    monkeypatch.setattr(queries, "ended_sessions_since", count_and_read)

    def request() -> None:
        with app.app_context():
            start.wait()
            with pytest.raises(DatabaseUnavailable):
                view.contains(ALICE)

    with app.app_context():
        with outage(), ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(request) for _ in range(6)]:
                done.result()
        assert len(reads) < 4, "one, and perhaps others of threads that were a second late"
        assert not view.contains(ALICE)


# Expiry


@pytest.mark.parametrize(
    ("max_lifetime", "lifetime"),
    [
        pytest.param(900, 900, id="configured"),
        pytest.param(None, MAX_LIFETIME, id="not configured"),
        pytest.param(999_999_999 * 86_400, MAX_LIFETIME, id="configured above the maximum"),
    ],
)
def test_an_ended_session_is_stored_until_its_last_token_has_expired(
    clock: Clock, calendar: Callable[[], datetime], max_lifetime: int | None, lifetime: int
) -> None:
    view = EndedSessions(max_lifetime=max_lifetime, clock=clock)
    view.end(logout_token(ALICE, calendar))
    keep = timedelta(seconds=lifetime) + GRACE
    (entry,) = queries.ended_sessions_since(0, 10)
    with superuser_engine().connect() as connection:
        session_expiry = connection.execute(select(EndedSession.expires_at)).scalar_one()
        token_expiry = connection.execute(select(SeenLogoutToken.expires_at)).scalar_one()
    assert session_expiry == entry.expires_at == calendar() + keep
    assert token_expiry == calendar() + timedelta(seconds=120)

    clock.now += keep.total_seconds() - 1
    assert queries.purge(User("alice")) == 0
    assert view.contains(ALICE)
    clock.now += 1
    assert queries.purge(User("alice")) == 1
    clock.now += REREAD_AFTER
    assert not view.contains(ALICE)


# Random sequences and threads

USERS = [User(user, session) for user in ("alice", "mallory") for session in ("s-1", "s-2")]
STEPS = st.one_of(
    st.tuples(st.just("end"), st.sampled_from(USERS), st.integers(0, 1)),
    st.tuples(st.just("read"), st.sampled_from(USERS), st.integers(0, 1)),
    st.tuples(st.just("read without waiting"), st.sampled_from(USERS), st.integers(0, 1)),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 0.3, 200.0, 1900.0, 4400.0, 4600.0]), st.none()),
    st.tuples(st.just("purge"), st.none(), st.none()),
    st.tuples(st.just("back up"), st.none(), st.none()),
    st.tuples(st.just("restore"), st.none(), st.none()),
)


def rows() -> list[dict[str, Any]]:
    with superuser_engine().connect() as connection:
        return [dict(row._mapping) for row in connection.execute(EndedSession.__table__.select())]


@pytest.mark.parametrize("max_in_memory", [2, 20_000])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=25))
def test_after_a_read_a_worker_knows_all_ended_sessions_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    clock: Clock,
    calendar: Callable[[], datetime],
    max_in_memory: int,
    steps: list[tuple[str, Any, Any]],
) -> None:
    monkeypatch.setattr(sessions, "MAX_IN_MEMORY", max_in_memory)
    delete_all_rows(database_url)
    views = [EndedSessions(max_lifetime=900, clock=clock) for _ in range(2)]
    ended: dict[User, datetime] = {}
    ever: set[User] = set()
    kept: tuple[list[dict[str, Any]], dict[User, datetime]] = ([], {})
    for step, what, which in steps:
        if step == "end":
            views[which].end(logout_token(what, calendar))
            ended[what] = calendar() + timedelta(seconds=900) + GRACE
            ever.add(what)
        elif step == "read without waiting":
            assert what in ever or not views[which].contains(what)
        elif step == "read":
            clock.now += FRESH_FOR
            found = views[which].contains(what)
            assert found or what not in ended or ended[what] <= calendar()
            assert not found or what in ever
        elif step == "pass":
            clock.now += what
        elif step == "purge":
            for user in queries.users_due():
                queries.purge(user)
            ended = {user: at for user, at in ended.items() if at > calendar()}
        elif step == "back up":
            kept = rows(), dict(ended)
        else:
            ended = dict(kept[1])
            with superuser_engine().begin() as connection:
                connection.execute(EndedSession.__table__.delete())
                for row in kept[0]:
                    connection.execute(insert(EndedSession).values(**row))


def test_concurrent_logouts_and_lookups_of_many_threads_are_consistent(app: Flask) -> None:
    """With the real clock in one worker: after its logout a session is known as ended, and no other session ever is."""
    view = EndedSessions()
    start = threading.Barrier(8)

    def live(thread: int) -> None:
        with app.app_context():
            start.wait()
            for number in range(10):
                mine = User(f"user-{thread % 2}", f"s-{thread}-{number}")
                assert not view.contains(mine)
                view.end(LogoutToken(f"n-{thread}-{number}", mine, taskapi.database.base.now() + timedelta(minutes=2)))
                assert view.contains(mine)
                assert view.contains(User(f"user-{thread % 2}", f"s-{thread}-0"))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(live, thread) for thread in range(8)]:
            done.result()
    assert len(view._ended) == 80
