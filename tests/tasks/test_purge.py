"""The purge removes any number of tasks in transactions of a limited number of rows."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import select, update

from taskapi.auth.tokens import User
from taskapi.database import chunks
from taskapi.database.base import now
from taskapi.database.unit_of_work import UnitOfWork
from taskapi.tasks import purge
from taskapi.tasks.models import Task
from tests.conftest import Person, superuser_engine


def set_deleted(days: int) -> None:
    """Make all tasks in the trash as old as this."""
    with superuser_engine().begin() as connection:
        deleted_at = now() - timedelta(days=days)
        connection.execute(update(Task.__table__).where(Task.deleted_at.is_not(None)).values(deleted_at=deleted_at))


def stored() -> list[tuple[int, str]]:
    """Return id and title of all rows."""
    with superuser_engine().connect() as connection:
        return [tuple(row) for row in connection.execute(select(Task.id, Task.title).order_by(Task.id))]


@pytest.mark.parametrize("one_revision", [True, False])
def test_trash_and_tombstones_are_removed_in_chunks_with_a_pause_after_each(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch, *, one_revision: bool
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 3)
    pauses: list[float] = []
    # The name in the module, not `time.sleep` itself, which other threads call, too.
    monkeypatch.setattr(chunks, "time", SimpleNamespace(sleep=pauses.append, monotonic=count(step=2).__next__))
    commits: list[str] = []
    commit = UnitOfWork.commit
    monkeypatch.setattr(UnitOfWork, "commit", lambda unit: commits.append("") or commit(unit))
    if one_revision:  # an import: all tombstones have one revision
        trashed = [{"title": "x", "deleted_at": "2026-01-01T00:00:00.000Z"}] * 7
        assert alice.data("POST", "/import", json={"tasks": [*trashed, {"title": "kept"}]}).status_code == 200
    else:
        for title in [*("x" * 7), "kept"]:
            alice.add(title)
        for number in range(1, 8):
            alice.delete(f"/{number}")
    with app.app_context():
        token = alice.data("GET", "/changes").get_json()["next"]
        set_deleted(31)
        commits.clear()
        pauses.clear()
        assert purge.purge_user(User("alice")) == (7, 0)
        assert (len(commits), len(pauses)) == (3 + 1, 3), "chunks of 3, 3 and 1, and a look at the tombstones"
        assert set(pauses) == {2}, "as long as each chunk took"
        assert stored() == [*((number, "") for number in range(1, 8)), (8, "kept")]
        set_deleted(91)
        assert purge.purge_user(User("alice")) == (0, 7)
        assert len(pauses) == 6
        assert stored() == [(8, "kept")]
        assert purge.purge_user(User("alice")) == (0, 0)
        assert len(pauses) == 6
    assert alice.data("GET", f"/changes?since={token}").status_code in (200, 410)
    assert alice.titles() == ["kept"]
