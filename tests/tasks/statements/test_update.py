"""Writes of one task that are committed with their statement: exact counters, and no revision for a change that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from taskapi.database.base import db
from taskapi.tasks.models import Task, User
from tests.conftest import Person, superuser_engine
from tests.waiting import until

ONE_OF_TWO = [204, 404]


def live_tasks(app: Flask) -> tuple[int, int]:
    """Return the counter of alice's live tasks, and their number."""
    with app.app_context(), superuser_engine().connect() as connection:
        counter = connection.execute(select(User.live_tasks).where(User.user_id == "alice")).scalar_one()
        number = select(func.count()).where(Task.user_id == "alice", Task.deleted_at.is_(None))
        return counter, connection.execute(number).scalar_one()


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        pytest.param("PUT", "/1", {"json": {"title": "Buy milk"}}, 200, id="no change"),
        pytest.param("PUT", "/1", {"json": {"title": "x"}, "headers": {"If-Match": '"9"'}}, 412, id="other version"),
        pytest.param("PATCH", "/1/complete", {"headers": {"If-Match": '"9"'}}, 412, id="toggle of another version"),
        pytest.param("PATCH", "/9/complete", {}, 404, id="toggle of no task"),
        pytest.param("DELETE", "/9", {}, 404, id="delete of no task"),
        pytest.param("DELETE", "/1", {"headers": {"If-Match": '"9"'}}, 412, id="delete of another version"),
        pytest.param("POST", "", {"json": {"title": "Two"}}, 409, id="create over the quota"),
    ],
)
def test_a_write_that_changes_nothing_takes_no_revision(
    make_app: Callable[..., Flask], method: str, path: str, options: Any, status: int
) -> None:
    app = make_app(MAX_TASKS_PER_USER="1")
    alice = Person(app.test_client(), "alice")
    alice.add()
    assert alice.send(method, path, **options).status_code == status
    assert alice.revision() == 1
    assert live_tasks(app) == (1, 1)
    alice.delete("/1")
    assert alice.add()["id"] == 2, "and no id"


def send_while_the_user_is_locked(app: Flask, requests: list[Callable[[Person], Any]]) -> list[int]:
    """Start requests of alice while another transaction holds the user's row; return the sorted statuses."""
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda send=send: statuses.append(send(Person(app.test_client(), "alice")).status_code))
        for send in requests
    ]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi' AND wait_event_type = 'Lock'"
    with app.app_context(), superuser_engine().connect() as other, superuser_engine().connect() as observer:
        other.execute(text("SELECT 1 FROM users FOR UPDATE"))

        def all_wait() -> bool:
            number = observer.execute(text(waiting)).scalar_one()
            observer.rollback()
            return bool(number == len(threads))

        for thread in threads:
            thread.start()
        until(all_wait, otherwise="the requests do not wait for the user's row")
        other.rollback()
        for thread in threads:
            thread.join()
    return sorted(statuses)


def test_of_two_concurrent_deletions_of_a_task_one_is_404_and_it_is_counted_once(app: Flask, alice: Person) -> None:
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("SQLite executes one write transaction at a time")
    alice.add()
    alice.add()
    delete = [lambda person: person.delete("/1")] * 2
    assert send_while_the_user_is_locked(app, delete) == ONE_OF_TWO
    assert live_tasks(app) == (1, 1)


def test_concurrent_creations_do_not_exceed_the_quota(make_app: Callable[..., Flask]) -> None:
    app = make_app(MAX_TASKS_PER_USER="3")
    alice = Person(app.test_client(), "alice")
    with app.app_context():
        on_sqlite = db.engine.dialect.name == "sqlite"
    alice.add()
    create = [lambda person: person.post(json={"title": "x"})] * 4
    if on_sqlite:
        assert sorted(send(alice).status_code for send in create) == [201, 201, 409, 409]
    else:
        assert send_while_the_user_is_locked(app, create) == [201, 201, 409, 409]
    assert live_tasks(app) == (3, 3)
    assert sorted(task["id"] for task in alice.get().get_json()) == [1, 2, 3]


def test_concurrent_toggles_are_all_made(app: Flask, alice: Person) -> None:
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("SQLite executes one write transaction at a time")
    alice.add()
    toggle = [lambda person: person.patch("/1/complete")] * 3
    assert send_while_the_user_is_locked(app, toggle) == [200, 200, 200]
    task = alice.get("/1").get_json()
    assert (task["completed"], task["version"]) == (True, 4)
