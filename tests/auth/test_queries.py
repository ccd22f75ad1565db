"""SQL on ended sessions: statements are scoped to their user or run as a job, and concurrent logouts are not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from taskapi.auth import queries
from taskapi.auth.models import EndedSession, SeenLogoutToken
from taskapi.auth.queries import EndedSessionEntry, Replayed
from taskapi.auth.tokens import User
from taskapi.database.base import now
from tests.conftest import Statements, superuser_engine
from tests.statement_owners import find_owners

HOUR = timedelta(hours=1)
ALICE, MALLORY = User("alice", "s-1"), User("mallory", "s-1")


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def end(user: User, token_id: str, *, session_for: timedelta = HOUR, token_for: timedelta = HOUR) -> None:
    queries.record_logout(user, token_id, session_expires_at=now() + session_for, token_expires_at=now() + token_for)


def names(since: int = 0, most: int = 1000) -> list[tuple[int, str]]:
    return [(entry.number, entry.key) for entry in queries.ended_sessions_since(since, most)]


def age(by: timedelta) -> None:
    """Move the expiry of all rows back by `by`."""
    with superuser_engine().begin() as connection:
        for table in (EndedSession, SeenLogoutToken):
            for key, at in connection.execute(table.__table__.select().with_only_columns(
                table.user_id, table.expires_at
            )).all():  # fmt: skip
                connection.execute(update(table).where(table.user_id == key).values(expires_at=at - by))


def count(table: Any) -> int:
    with superuser_engine().connect() as connection:
        return len(connection.execute(table.__table__.select()).all())


def test_a_session_ends_for_its_user_only() -> None:
    end(ALICE, "n-1")
    assert queries.has_ended(ALICE)
    assert not queries.has_ended(User("alice", "s-2"))
    assert not queries.has_ended(MALLORY)
    assert not queries.has_ended(User("alice\ns-1", ""))


def test_logouts_are_numbered_in_order() -> None:
    for number in range(1, 4):
        end(User("alice", f"s-{number}"), f"n-{number}")
    end(MALLORY, "n-1")
    whole = [(1, "alice\ns-1"), (2, "alice\ns-2"), (3, "alice\ns-3"), (4, "mallory\ns-1")]
    assert names() == whole
    assert names(since=3) == whole[2:]
    assert names(since=5) == []
    assert names(since=2, most=2) == whole[1:3]


def test_a_logout_token_id_is_accepted_once_per_user() -> None:
    end(ALICE, "n-1")
    with pytest.raises(Replayed):
        end(User("alice", "s-2"), "n-1")
    assert not queries.has_ended(User("alice", "s-2"))
    end(MALLORY, "n-1")  # the same id, of another user
    assert queries.has_ended(MALLORY)


def test_a_session_that_has_ended_can_end_again_and_keeps_its_number() -> None:
    end(ALICE, "n-1")
    end(MALLORY, "n-1")
    end(ALICE, "n-2")
    assert names() == [(1, "alice\ns-1"), (2, "mallory\ns-1")]
    with pytest.raises(Replayed):
        end(ALICE, "n-2")


def test_a_session_that_ends_again_gets_a_new_expiry() -> None:
    """A logout that got 200 must hold, even if the row of an earlier one was about to be purged."""
    end(ALICE, "n-1")
    age(HOUR)
    end(ALICE, "n-2")
    assert queries.purge(ALICE) == 0
    assert queries.has_ended(ALICE)


def test_rows_with_a_reused_number_are_different_entries() -> None:
    end(ALICE, "n-1")
    (before,) = queries.ended_sessions_since(0, 10)
    age(HOUR)
    assert queries.purge(ALICE) == 1
    end(ALICE, "n-2")
    (after,) = queries.ended_sessions_since(0, 10)
    assert (before.number, before.key) == (after.number, after.key) == (1, "alice\ns-1")
    assert before != after


def test_a_logout_gets_a_number_above_all_existing_rows_after_a_purge() -> None:
    for number in range(1, 4):
        end(User(f"user-{number}", "s"), "n", session_for=HOUR if number == 3 else -HOUR)
    for user in queries.users_due():
        queries.purge(user)
    end(ALICE, "n-1")
    assert names() == [(3, "user-3\ns"), (4, "alice\ns-1")]


def test_users_due_returns_each_user_with_expired_rows_once() -> None:
    end(ALICE, "n-1", session_for=-HOUR, token_for=-HOUR)
    end(User("alice", "s-2"), "n-2", session_for=-HOUR)
    end(MALLORY, "n-1", token_for=-HOUR)
    end(User("olga", "s-1"), "n-1")
    assert sorted(user.id for user in queries.users_due()) == ["alice", "mallory"]


def test_purge_deletes_expired_rows_only() -> None:
    end(ALICE, "n-1", session_for=-HOUR)
    end(User("alice", "s-2"), "n-2", token_for=-HOUR)
    end(MALLORY, "n-1", session_for=-HOUR, token_for=-HOUR)
    assert queries.purge(User("alice")) == 1
    assert not queries.has_ended(ALICE)
    assert queries.has_ended(User("alice", "s-2"))
    assert queries.has_ended(MALLORY)
    with pytest.raises(Replayed):
        end(ALICE, "n-1")  # this logout token has not expired
    end(ALICE, "n-2")  # this one has expired, so its id is not stored any more
    assert queries.purge(User("alice")) == 0


def test_a_replayed_logout_inserts_no_row() -> None:
    end(ALICE, "n-1")
    for session in ("s-2", "s-3"):
        with pytest.raises(Replayed):
            end(User("alice", session), "n-1")
    assert (count(EndedSession), count(SeenLogoutToken)) == (1, 1)


def test_every_statement_about_one_user_has_the_owner_in_its_where(statements: Statements) -> None:
    """Three statements are about all users: the log, its highest number, and the users due; no route exposes them."""
    of_all_users = []
    work: list[Callable[[], object]] = [
        *(lambda: end(ALICE, "n-1"), lambda: end(ALICE, "n-2"), lambda: queries.has_ended(ALICE)),
        *(lambda: queries.purge(ALICE), lambda: queries.ended_sessions_since(0, 10), queries.users_due),
    ]
    for each in work:
        each()
    for sql, parameters in statements.sent:
        if sql == "BEGIN IMMEDIATE":
            continue
        if "max(ended_sessions.number)" in sql or "ORDER BY ended_sessions.number" in sql or "UNION" in sql:
            of_all_users.append(sql)
            continue
        found = find_owners(sql, parameters)
        assert found, sql
        assert all(set(users) == {"alice"} for users in found.values()), sql
    assert len(of_all_users) == 3


def test_concurrent_logouts_are_numbered_without_gaps_and_no_reader_misses_one(app: Flask) -> None:
    """A number becomes visible only after all lower ones, so a reader never has to read lower numbers again."""
    sessions = [User(f"user-{number % 3}", f"s-{number}") for number in range(40)]
    start, over = threading.Barrier(9), threading.Event()
    followed: list[EndedSessionEntry] = []

    def read_log() -> None:
        with app.app_context():
            start.wait()
            while not over.is_set() or queries.ended_sessions_since(followed[-1].number + 1 if followed else 0, 1):
                followed.extend(queries.ended_sessions_since(followed[-1].number + 1 if followed else 0, 1000))

    def sign_out(mine: list[User]) -> None:
        with app.app_context():
            start.wait()
            for user in mine:
                end(user, f"n-{user.session}")

    with ThreadPoolExecutor(9) as pool:
        reading = pool.submit(read_log)
        for done in [pool.submit(sign_out, sessions[first::8]) for first in range(8)]:
            done.result()
        over.set()
        reading.result()
    assert [entry.number for entry in followed] == list(range(1, 41))
    assert {entry.key for entry in followed} == {queries.session_key(user.id, user.session or "") for user in sessions}


def test_of_concurrent_logouts_with_one_token_id_one_succeeds(app: Flask) -> None:
    start = threading.Barrier(8)

    def try_it(number: int) -> bool:
        with app.app_context():
            start.wait()
            try:
                end(User("alice", f"s-{number}"), "the-same")
            except Replayed:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(try_it, range(8))) == [False] * 7 + [True]
    assert (count(EndedSession), count(SeenLogoutToken)) == (1, 1)


def test_session_keys_of_different_ids_differ() -> None:
    assert (
        len({queries.session_key(user, session) for user in ("a", "a b", "b") for session in ("a", "b c", "c", "b")})
        == 12
    )


@pytest.mark.parametrize("character", ["x", "\U0001f600", " "], ids=["ascii", "emoji", "space"])
def test_the_longest_ids_fit(character: str) -> None:
    longest = User(character * 255, character * 255)
    end(longest, character * 255)
    assert queries.has_ended(longest)
    assert names() == [(1, f"{longest.id}\n{longest.session}")]
