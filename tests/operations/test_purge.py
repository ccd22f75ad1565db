"""The daily purge: what each step removes is tested with the module that removes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from taskapi.auth import queries as sessions
from taskapi.auth.tokens import User
from taskapi.database.base import now
from taskapi.database.failures import DatabaseUnavailable
from taskapi.operations import purge
from taskapi.tasks import purge as tasks
from taskapi.tasks.models import Task
from tests.conftest import Person, superuser_engine

QUOTES_DATA = "Key (title)=(Secret) already exists."
"""A message of the database, which can quote the content of a task."""


@pytest.fixture
def trash_is_due(app: Flask, alice: Person, mallory: Person) -> None:
    """Three users, each with a task that has been in the trash for 31 days."""
    for person in (alice, mallory, Person(app.test_client(), "zoe")):
        person.add()
        person.delete("/1")
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(update(Task.__table__).values(deleted_at=now() - timedelta(days=31)))


def replace_step(monkeypatch: pytest.MonkeyPatch, counted: str, **members: Any) -> None:
    """Give the step that counts `counted` other functions."""
    steps = tuple(replace(step, **members) if counted in step.counted else step for step in purge.PURGE_STEPS)
    monkeypatch.setattr(purge, "PURGE_STEPS", steps)


def end_session_a_day_ago() -> None:
    past = now() - timedelta(days=1)
    sessions.record_logout(User("alice", "s-1"), "n-1", session_expires_at=past, token_expires_at=past)


@pytest.mark.usefixtures("trash_is_due")
def test_a_user_whose_purge_fails_is_logged_and_does_not_stop_the_purge_of_others(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_for_mallory(user: User) -> tuple[int, int]:
        if user.id == "mallory":
            raise DatabaseUnavailable(QUOTES_DATA)
        return tasks.purge_user(user)

    with app.app_context():
        end_session_a_day_ago()
        replace_step(monkeypatch, "emptied", purge=fail_for_mallory)
        report = purge.purge_all()
        assert {user.id for user in tasks.users_due()} == {"mallory"}
        monkeypatch.undo()
        again = purge.purge_all()
    assert (report.removed, report.failures) == ({"emptied": 2, "tombstones": 0, "sessions": 1, "refolded": 0}, 1)
    assert (again.removed, again.failures) == ({"emptied": 1, "tombstones": 0}, 0)
    (record,) = [record for record in caplog.records if record.name == purge.__name__]
    assert record.getMessage().startswith("cannot purge the emptied and tombstones of user 'mallory'\n  File")
    assert "DatabaseUnavailable" in record.getMessage()
    assert QUOTES_DATA not in record.getMessage()


@pytest.mark.usefixtures("trash_is_due")
def test_a_room_whose_due_users_cannot_be_read_does_not_stop_the_other_rooms(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise DatabaseUnavailable("gone")

    replace_step(monkeypatch, "keys", users_due=fail)
    with app.app_context():
        report = purge.purge_all()
    assert (report.removed, report.failures) == ({"emptied": 3, "tombstones": 0, "refolded": 0}, 1)
    assert "cannot find the users with keys to remove" in caplog.text


@pytest.mark.usefixtures("trash_is_due")
def test_the_command_prints_what_was_removed_and_exits_with_1_after_a_failure(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(user: User) -> tuple[int, int]:
        raise DatabaseUnavailable(user.id)

    replace_step(monkeypatch, "emptied", purge=fail)
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 1
    assert result.stdout == (
        "0 tasks emptied; 0 tombstones, 0 idempotency keys, 0 ended sessions and 0 erased users removed\n"
    )
    assert result.stderr == "Error: 3 purges failed and are left for the next run; see the log\n"
    monkeypatch.undo()
    result = app.test_cli_runner().invoke(args=["purge"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("3 tasks emptied;")
