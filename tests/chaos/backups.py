"""Backups of databases while clients write, restored elsewhere; as `tests/chaos/failures.py`."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tests import postgres
from tests.backup import back_up_sqlite, checksums, dump, libpq_url, restore, snapshot, upgrade
from tests.chaos.failures import await_writes
from tests.chaos.postgres import PostgreSQL
from tests.chaos.service import NO_RESPONSE, run_service
from tests.chaos.writers import WriteLog, all_tasks, assert_no_write_lost, writing
from tests.conftest import serving

Tasks = dict[str, dict[str, dict[str, Any]]]
"""Acknowledged tasks, by user and title."""


def restore_dump(postgresql: PostgreSQL, *, writes: int, writers: int = 6) -> dict[str, Any]:
    """Dump a database under writes, restore it into a new server, and serve there with both roles.

    The restored rows of each user equal those of the snapshot that the dump was made of.
    """
    with tempfile.TemporaryDirectory(prefix="taskapi-dump-") as name:
        folder = Path(name)
        tools, source = postgres.tools(folder), postgresql.superuser_url
        with run_service(postgresql.url) as running:
            with writing(running, writers) as log:
                await_writes(log, writes)
                before = _acknowledged(log)
                with snapshot(source) as (snapshot_id, expected):
                    await_writes(log, writers)  # not in the dump
                    began = time.monotonic()
                    dump(tools, source, folder / "dump", f"--snapshot={snapshot_id}")
                    dumped = time.monotonic() - began
                await_writes(log, writers)
            audit = log.audit()
        assert_no_write_lost(audit)
        assert set(log.outcomes) <= {201, 409, NO_RESPONSE}, audit
        with postgres.server(folder / "new") as new, suppress(DBAPIError), postgres.new_database(new.get_uri()) as url:
            target = make_url(new.get_uri()).set(database=make_url(url).database)
            began = time.monotonic()
            restore(tools, folder / "dump", target.render_as_string(hide_password=False))
            restored = time.monotonic() - began
            with psycopg.connect(libpq_url(target)) as connection:
                assert checksums(connection) == expected
            figures = _serve(url, log, before, MIGRATION_DATABASE_URL=postgres.as_owner(url))
    return {
        "dump_s": round(dumped, 2),
        "restore_s": round(restored, 2),
        "checksums": len(expected),
        "acknowledged": audit["acknowledged"],
        **figures,
    }


def restore_copy(url: str, folder: Path, *, writes: int, writers: int = 6) -> dict[str, Any]:
    """Copy a SQLite database under writes with VACUUM INTO, and serve from the copy."""
    copy = folder / "copy.db"
    with run_service(url) as running, writing(running, writers) as log:
        await_writes(log, writes)
        before = _acknowledged(log)
        began = time.monotonic()
        back_up_sqlite(url, copy)
        copied = time.monotonic() - began
        await_writes(log, writers)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counters = connection.execute(
            "SELECT user_id, revision, last_task_id, live_tasks,"
            " (SELECT max(revision) FROM tasks WHERE tasks.user_id = users.user_id),"
            " (SELECT count(*) FROM tasks WHERE tasks.user_id = users.user_id) FROM users"
        ).fetchall()
    for _, revision, last_task_id, live_tasks, newest, count in counters:
        assert revision == newest, "the copy is of one moment"
        assert last_task_id == live_tasks == count
    figures = _serve(f"sqlite:///{copy}", log, before)
    return {"copy_s": round(copied, 2), "acknowledged": log.acknowledged, **figures}


def _acknowledged(log: WriteLog) -> Tasks:
    return {writer.user: dict(writer.acknowledged) for writer in log.writers}


def _serve(url: str, log: WriteLog, before: Tasks, **settings: str) -> dict[str, Any]:
    """Migrate, run `flask restored` and start the service; compare what it returns with what was acknowledged."""
    upgrade(url)
    with serving(url, **settings) as app:
        output = app.test_cli_runner().invoke(args=["restored"]).output
    assert output.startswith(f"{len(before)} users: "), output
    after = _acknowledged(log)
    with run_service(url) as running:
        assert running.get("/readyz").status == 200
        stored = {user: {task["title"]: task for task in all_tasks(running, user)} for user in before}
        with writing(running, 2) as new:
            await_writes(new, 4)
        assert_no_write_lost(new.audit())
    lost = {user: before[user].keys() - stored[user].keys() for user in before}
    assert not any(lost.values()), "acknowledged before the backup, and not in it"
    kept = [(user, title) for user, tasks in stored.items() for title in tasks if title in after[user]]
    assert all(stored[user][title] == after[user][title] for user, title in kept)
    return {"acknowledged_before": sum(map(len, before.values())), "restored": sum(map(len, stored.values()))}
