"""`flask restored`: a backup is restored, and clients have seen changes that it does not contain."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from taskapi.database.base import db
from taskapi.tasks.restored import GAP
from tests import postgres
from tests.backup import back_up_sqlite, dump, restore, upgrade
from tests.conftest import Person, build, delete_all_rows, serving, token

Restored = Callable[..., Flask]
"""Function that restores the backup, finishes the restore unless it is `unfinished`, and starts the service."""


@pytest.fixture
def backup(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Restored]]:
    """Function that backs the database up, and returns a function that restores that backup elsewhere."""
    with ExitStack() as stack:
        if database_url.startswith("sqlite"):
            yield lambda: _sqlite_backup(stack, database_url, tmp_path / "backup.db")
        else:
            folder = request.getfixturevalue("backup_folder")
            yield lambda: _postgresql_backup(stack, database_url, folder)
    delete_all_rows(database_url)


@pytest.fixture
def backup_folder() -> Iterator[Path]:
    """A directory that the programs of PostgreSQL can write in."""
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("pg_dump may be older than the server of TEST_DATABASE_URL")
    with tempfile.TemporaryDirectory(prefix="taskapi-backup-") as folder:
        yield Path(folder)


def _sqlite_backup(stack: ExitStack, url: str, file: Path) -> Restored:
    back_up_sqlite(url, file)
    return lambda **settings: _start(stack, f"sqlite:///{file}", **settings)


def _postgresql_backup(stack: ExitStack, url: str, folder: Path) -> Restored:
    tools = postgres.tools(folder)
    dump(tools, postgres.as_superuser(url), folder / "dump")

    def start(**settings: str) -> Flask:
        restored = stack.enter_context(postgres.new_database(postgres.server_url))
        restore(tools, folder / "dump", postgres.as_superuser(restored))
        return _start(stack, restored, MIGRATION_DATABASE_URL=postgres.as_owner(restored), **settings)

    return start


def _start(stack: ExitStack, url: str, *, unfinished: bool = False, **settings: str) -> Flask:
    upgrade(url)
    app = stack.enter_context(serving(url, **settings))
    if not unfinished:
        result = app.test_cli_runner().invoke(args=["restored"])
        assert result.exit_code == 0, result.output
    return app


@pytest.fixture
def alice(database_url: str) -> Iterator[Person]:
    """The user alice of the service before the restore."""
    app = build(database_url, RATE_LIMIT="off")
    yield Person(app.test_client(), "alice")
    with app.app_context():
        db.engine.dispose()


def on(app: Flask, user: str = "alice") -> Person:
    return Person(app.test_client(), user)


def test_the_restored_service_is_ready_and_has_the_tasks_of_the_backup(alice: Person, backup: Callable[[], Restored]):
    before = alice.add("Kept")
    restored = backup()
    alice.add("Later")
    app = restored()
    assert app.test_client().get("/readyz").status_code == 200
    assert on(app).get().get_json() == [before]
    assert on(app, "mallory").get().get_json() == []
    assert on(app).add("New")["title"] == "New"


def test_a_task_id_from_after_the_backup_is_not_given_to_another_task(alice: Person, backup: Callable[[], Restored]):
    alice.add("Kept")
    restored = backup()
    lost = alice.add("Lost")["id"]
    person = on(restored())
    assert person.add("New")["id"] == 1 + GAP + 1
    assert person.get(f"/{lost}").status_code == 404


def test_a_version_from_after_the_backup_is_not_given_to_other_content(alice: Person, backup: Callable[[], Restored]):
    alice.add("Kept")
    restored = backup()
    stale = alice.put("/1", json={"title": "Lost"}).headers["ETag"]
    person = on(restored())
    changed = person.put("/1", json={"title": "New"})
    assert changed.headers["ETag"] == f'"{1 + GAP + 1}"'
    assert person.get("/1", headers={"If-None-Match": stale}).status_code == 200
    assert person.put("/1", json={"title": "Blind"}, headers={"If-Match": stale}).status_code == 412


def test_a_list_etag_from_after_the_backup_does_not_match(alice: Person, backup: Callable[[], Restored]):
    alice.add("Kept")
    restored = backup()
    alice.add("Lost")
    stale = alice.get().headers["ETag"]
    person = on(restored())
    assert person.get(headers={"If-None-Match": stale}).status_code == 200


def changes(person: Person, since: str | None = None) -> tuple[int, dict[str, Any]]:
    response = person.data("GET", "/changes", query_string={"since": since} if since else {})
    return response.status_code, response.get_json()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sync_token_from_before_the_restore_is_expired(alice: Person, backup: Callable[[], Restored], moment: str):
    """A client with such a token may have received changes that no longer exist: it reads everything again."""
    alice.add("Kept")
    since = {"before": changes(alice)[1]["next"]}
    restored = backup()
    alice.add("Lost")
    since["after"] = changes(alice)[1]["next"]
    person = on(restored())
    person.add("New")
    status, problem = changes(person, str(since[moment]))
    assert (status, problem["code"]) == (410, "gone")
    assert [item["title"] for item in changes(person)[1]["items"]] == ["Kept", "New"]


def test_two_users_get_different_epochs(alice: Person, database_url: str, backup: Callable[[], Restored]):
    """A token of one user is not valid for another: it is signed with another epoch."""
    alice.add()
    with serving(database_url) as app:
        on(app, "bob").add()
    app = backup()()
    since = [str(changes(on(app, user))[1]["next"]) for user in ("alice", "bob")]
    assert since[0].partition(".")[0] != since[1].partition(".")[0]


def test_a_session_that_ended_after_the_backup_is_refused_with_the_printed_setting(
    alice: Person, backup: Callable[[], Restored]
):
    """The backup does not know that the session has ended, so its tokens would be valid until they expire."""
    alice.add("Kept")
    restored = backup()
    now = int(time.time())
    old = token("alice", sid="s1", iat=now - 60, exp=now + 600)
    with_setting = restored(JWT_NOT_BEFORE=_iso(now))
    assert Person(with_setting.test_client(), "alice", old).get().status_code == 401
    assert Person(with_setting.test_client(), "alice", token("alice", sid="s2", iat=now)).get().status_code == 200


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_the_command_prints_the_number_of_users_and_the_setting(alice: Person, backup: Callable[[], Restored]):
    alice.add()
    app = backup()(unfinished=True)
    began = int(time.time())
    output = app.test_cli_runner().invoke(args=["restored"]).output
    first, second = output.splitlines()
    assert first == "1 users: new versions, task ids and sync tokens"
    setting = second.rpartition(" ")[2]
    name, _, value = setting.partition("=")
    assert name == "JWT_NOT_BEFORE"
    assert _iso(began) <= value <= _iso(int(time.time()))
    build(app.config["SQLALCHEMY_DATABASE_URI"], **{name: value})


def test_row_level_security_is_forced_again(alice: Person, backup: Callable[[], Restored]):
    alice.add()
    app = backup()()
    assert app.test_client().get("/readyz").get_json() == {"status": "ok"}


def test_without_the_owners_role_the_command_says_what_to_set(postgresql_url: str):
    with serving(postgresql_url) as app:
        result = app.test_cli_runner().invoke(args=["restored"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: must be owner of table users. Set MIGRATION_DATABASE_URL to the role that owns the database"
        " (docs/operations.md).\n"
    )
