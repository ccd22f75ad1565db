"""Stored text is folded again after a release that folds in another way, by a migration and by the purge."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from taskapi.auth.tokens import User
from taskapi.database.base import db, now
from taskapi.operations.health import MIGRATION_HEAD
from taskapi.tasks import models, refolding
from taskapi.tasks.folding import MAX_FOLDED, VERSION, fold
from taskapi.tasks.models import Task
from tests import postgres
from tests.conftest import Person, build, dispose_engines, superuser_engine

ROWS = 2_000
TITLES = ["Łódź", "Øl", "Buy milk", "CAFÉ", "“Don’t”", "שָׁלוֹם", "Diyarbakır"]


def fold_as_before(text: str) -> str:
    """Fold as the releases before migration 0009."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFKC", re.sub("[\u0300-\u036f]", "", decomposed))


def old_row(user: str, id: int, title: str, description: str | None = None, **columns: Any) -> dict[str, Any]:
    """Return the columns of a task as the releases before migration 0009 wrote them."""
    names = ("user_id", "id", "revision", "title", "description", "created_at", "updated_at")
    return {
        **dict(zip(names, (user, id, id, title, description, now(), now()), strict=True)),
        **dict.fromkeys(("deleted_at", "purged_at")),
        "completed": False,
        "folded_title": fold_as_before(title),
        "folded_description": None if description is None else fold_as_before(description)[:MAX_FOLDED],
        **columns,
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database of one test, at migration 0007."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/own.db"
        upgrade(make_app(url), "0007")
        yield url
        dispose_engines(url)
        return
    with postgres.new_database(request.getfixturevalue("postgresql_server")) as url:
        upgrade(make_app(url), "0007")
        yield url
        dispose_engines(url)


@pytest.fixture
def old_app(old_url: str) -> Iterator[Flask]:
    """An application whose database is at migration 0007 and has tasks in the old folding."""
    app = make_app(old_url)
    users = {
        "alice": [
            old_row("alice", id, TITLES[id % len(TITLES)], "– Æ –" if id % 10 == 0 else None)
            for id in range(1, ROWS + 1)
        ],
        "mallory": [old_row("mallory", 1, "Łódź"), old_row("mallory", 2, "Øl", deleted_at=now())],
        "zoe": [],
    }
    users["mallory"].append(old_row("mallory", 3, "", deleted_at=now(), purged_at=now()))
    with superuser_engine(old_url).begin() as connection:
        for user, rows in users.items():
            counters = {"revision": len(rows), "last_task_id": len(rows), "live_tasks": len(rows), "epoch": "0" * 32}
            connection.execute(insert(models.User.__table__).values(user_id=user, **counters))
            if rows:
                connection.execute(insert(Task.__table__), rows)
    yield app
    with app.app_context():
        db.engine.dispose()


def make_app(url: str) -> Flask:
    settings = {} if url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(url)}
    return build(url, RATE_LIMIT="off", **settings)


def upgrade(app: Flask, revision: str = "head") -> None:
    result = app.test_cli_runner().invoke(args=["db", "upgrade", revision])
    assert result.exit_code == 0, result.output
    with app.app_context():
        db.engine.dispose()


def stored(app: Flask, *conditions: Any) -> list[Any]:
    """Return all columns of all tasks, or of those that meet conditions."""
    with app.app_context(), superuser_engine().connect() as connection:
        return list(connection.execute(select(Task.__table__).where(*conditions).order_by(Task.user_id, Task.id)).all())


def version(app: Flask) -> str:
    """Return the version of the schema."""
    with app.app_context(), superuser_engine().connect() as connection:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def is_folded(row: Any) -> bool:
    """Return whether the folded text of a row is that of the present code."""
    folded = None if row.description is None else fold(row.description)
    return bool((row.folded_title, row.folded_description) == (fold(row.title), folded))


def without_folded_text(row: Any) -> dict[str, Any]:
    """Return the columns of a row that refolding must not change."""
    return {name: value for name, value in row._mapping.items() if name not in ("folded_title", "folded_description")}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of tasks that each transaction writes; there is no pause after it."""
    numbers: list[int] = []
    write: Callable[..., None] = refolding._write
    monkeypatch.setattr(refolding, "_write", lambda user, rows: numbers.append(len(rows)) or write(user, rows))
    monkeypatch.setattr(refolding, "PAUSE", 0)
    return numbers


def test_the_migration_folds_thousands_of_tasks_in_small_transactions_and_changes_nothing_else(
    old_app: Flask, written: list[int]
) -> None:
    alice, mallory = Person(old_app.test_client(), "alice"), Person(old_app.test_client(), "mallory")
    before = stored(old_app)
    outdated = sum(not is_folded(row) for row in before)
    assert ROWS > outdated > ROWS // 2
    etags = [alice.get("/1").headers["ETag"], alice.get("?limit=1").headers["ETag"]]

    upgrade(old_app)

    assert sum(written) == outdated
    assert max(written) <= refolding.CHUNK
    after = stored(old_app)
    assert all(map(is_folded, after))
    assert [without_folded_text(row) for row in after] == [without_folded_text(row) for row in before]
    assert etags == [alice.get("/1").headers["ETag"], alice.get("?limit=1").headers["ETag"]]
    for q, title in (("lodz", "Łódź"), ('"don\'t"', "“Don’t”"), ("diyarbakir", "Diyarbakır"), ("שלום", "שָׁלוֹם")):
        assert {task["title"] for task in alice.get(query_string={"q": q}).get_json()} == {title}
    assert alice.get("?q=ae&include=total&limit=1").headers["X-Total-Count"] == str(ROWS // 10)
    assert mallory.titles("?q=ol&trash=true") == ["Øl"]


def test_an_interrupted_migration_keeps_what_it_has_written_and_continues_with_the_next_run(
    old_app: Flask, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    outdated = sum(not is_folded(row) for row in stored(old_app))
    write = refolding._write

    def interrupt(user: User, rows: Any) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        write(user, rows)

    with monkeypatch.context() as patch:
        patch.setattr(refolding, "_write", interrupt)
        result = old_app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code != 0
    done = sum(written)
    assert sum(not is_folded(row) for row in stored(old_app)) == outdated - done
    assert version(old_app) == "0008"
    assert old_app.test_client().get("/readyz").status_code == 503
    assert Person(old_app.test_client(), "alice").get("/1").status_code == 200, "requests are served meanwhile"

    upgrade(old_app)

    assert sum(written) == outdated
    assert all(map(is_folded, stored(old_app)))
    assert version(old_app) == MIGRATION_HEAD
    assert old_app.test_client().get("/readyz").status_code == 200


def test_requests_that_change_tasks_during_the_migration_keep_their_text(
    old_app: Flask, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the read of a chunk and its write: a change by this release, one by the release before, and a purge."""
    write = refolding._write
    alice = Person(old_app.test_client(), "alice")
    changed: list[int] = []

    def change_before(user: User, rows: Any) -> None:
        if user.id == "alice" and len(rows) > 3 and len(changed) < 9:
            ours, theirs, purged = (row["task"] for row in rows[:3])
            changed.extend([ours, theirs, purged])
            assert alice.put(f"/{ours}", json={"title": f"Đ {ours}"}).status_code == 200
            empty = {"title": "", "description": None, "folded_title": "", "folded_description": None}
            for id, values in {theirs: old_row("alice", theirs, "Ŧ"), purged: {**empty, "purged_at": now()}}.items():
                with superuser_engine().begin() as connection:
                    these = (Task.user_id == "alice", Task.id == id)
                    connection.execute(update(Task.__table__).where(*these).values(**values))
        write(user, rows)

    monkeypatch.setattr(refolding, "_write", change_before)
    upgrade(old_app)

    assert len(changed) == 9
    rows = {row.id: row for row in stored(old_app, Task.user_id == "alice")}
    assert all(map(is_folded, rows.values()))
    for ours, theirs, purged in zip(*[iter(changed)] * 3, strict=True):
        assert (rows[ours].title, rows[ours].folded_title) == (f"Đ {ours}", f"d {ours}")
        assert (rows[theirs].title, rows[theirs].folded_title) == ("Ŧ", "t")
        assert (rows[purged].title, rows[purged].folded_title, rows[purged].folded_description) == ("", "", None)


@pytest.mark.usefixtures("written")
def test_the_purge_folds_what_older_code_has_written_since_the_migration_once_per_user(old_app: Flask) -> None:
    upgrade(old_app)
    with old_app.app_context():
        with superuser_engine().begin() as connection:
            connection.execute(insert(Task.__table__), [old_row("alice", ROWS + 1, "Ħal"), old_row("zoe", 1, "Ŋ")])
        assert {user.id for user in refolding.users_due()} == {"alice", "mallory", "zoe"}
    result = old_app.test_cli_runner().invoke(args=["purge"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1:] == ["2 tasks that older code had written folded again for search"]
    assert all(map(is_folded, stored(old_app)))
    with old_app.app_context():
        assert list(refolding.users_due()) == []
        with superuser_engine().connect() as connection:
            assert {row.folding for row in connection.execute(select(models.User.folding))} == {VERSION}
    assert len(old_app.test_cli_runner().invoke(args=["purge"]).stdout.splitlines()) == 1


def test_a_task_that_changes_again_and_again_does_not_stop_the_refolding(
    old_app: Flask, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refolding, "_write", lambda _user, rows: written.append(len(rows)))  # every update is too late
    upgrade(old_app, "0008")
    with old_app.app_context():
        assert refolding.refold_user(User("mallory")) == 2 * refolding.ATTEMPTS
    assert written == [2] * refolding.ATTEMPTS
