"""Start, serve, reload and stop gunicorn with the production settings."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from taskapi.config.settings import Config
from tests import postgres
from tests.conftest import SECRET, delete_all_rows, migrate, token
from tests.gunicorn_server import (
    CLIENT_TIMEOUT,
    ROOT,
    STARTING,
    STOPPING,
    Request,
    Server,
    launch,
    serve,
    spawn_on_socket,
)
from tests.waiting import WAIT_LIMIT, until


def output_of_failed_start(folder: Path, **environ: str) -> str:
    """Return the output of a gunicorn that refuses to start."""
    process, _ = spawn_on_socket(
        lambda fd: [sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}", "wsgi:app"],
        {"PATH": os.environ["PATH"], **environ},
        folder / "log",
    )
    assert process.wait(STARTING) != 0
    return (folder / "log").read_text()


def child_processes(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """Return the process ids of the workers, once there are `count`: they are forked one after the other."""
    return until(lambda: workers if len(workers := child_processes(process.pid)) >= count else [])


def sockets(pid: int) -> set[str]:
    """Return the open sockets of a process by their inodes, such as `socket:[4711]`."""
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(str(descriptor.readlink()))
        except OSError:
            continue  # closed meanwhile
    return {name for name in links if name.startswith("socket:")}


# Start


def test_without_a_key_gunicorn_does_not_start(tmp_path: Path):
    """tests/config/test_settings.py has the keys that are refused; any of them ends the start like this."""
    output = output_of_failed_start(tmp_path)
    assert output.startswith("taskapi cannot start:\n  - no key source: set BETTER_AUTH_SECRET")
    assert "Traceback" not in output


def test_a_failed_start_lists_every_configuration_problem_and_no_value(tmp_path: Path):
    output = output_of_failed_start(
        tmp_path,
        BETTER_AUTH_SECRET="s3cret",
        BETTER_AUTH_URL="s3cret",
        DATABASE_URL="mysql://me:s3cret@host/x",
        CORS_ORIGINS="s3cret",
        JWT_MAX_LIFETIME="s3cret",
        REQUIRE_IF_MATCH="s3cret",
        LOG_LEVEL="s3cret",
    )
    names = re.findall(r"^  - (\w+)", output, re.MULTILINE)
    assert names == [
        "BETTER_AUTH_SECRET",
        "BETTER_AUTH_URL",
        "JWT_MAX_LIFETIME",
        "DATABASE_URL",
        "CORS_ORIGINS",
        "REQUIRE_IF_MATCH",
        "LOG_LEVEL",
    ]
    assert "s3cret" not in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def with_empty_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose optional settings are empty."""
    url = f"sqlite:///{tmp_path_factory.mktemp('empty')}/x.db"
    with serve(url, PORT="", LOG_LEVEL="", URL_PREFIX="", BETTER_AUTH_URL="", WEB_CONCURRENCY="1") as server:
        yield server


def test_an_empty_variable_counts_as_absent(with_empty_variables: Server):
    assert with_empty_variables.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
    ],
    ids=["repeated", "two-headers"],
)
def test_proxies_on_this_host_may_disagree_about_the_scheme(with_empty_variables: Server, headers: bytes):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
    assert with_empty_variables.raw(request).status == 200


LAZY_IMPORTS = ("alembic", "apispec", "flask_migrate", "icalendar", "limits")


def test_packages_for_commands_and_exports_are_not_imported_at_start():
    script = f"""
import runpy, sys
runpy.run_path("gunicorn.conf.py")
import wsgi
print([name for name in {LAZY_IMPORTS} if name in sys.modules])
"""
    environ = {"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_no_attribute_of_gunicorn_is_replaced():
    """Other worker classes of gunicorn would run with the replacement."""
    script = """
import runpy, sys
import gunicorn.app.wsgiapp, gunicorn.arbiter, gunicorn.workers.gthread, gunicorn.workers.sync


def attributes():
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "gunicorn"}
    classes = {
        f"{name}.{kind.__qualname__}": kind
        for name, module in modules.items()
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == name
    }
    return {
        (owner, name): value
        for owner, value in {**modules, **classes}.items()
        for name, value in vars(value).items()
        if not name.startswith("__") or name == "__str__"
    }


before = attributes()
runpy.run_path("gunicorn.conf.py")
import wsgi
after = attributes()
print([name for name, value in before.items() if after.get(name) is not value])
"""
    environ = {"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


# Serve


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    yield database_url
    delete_all_rows(database_url)


def test_gunicorn_serves_tasks_and_is_ready(url: str):
    with serve(url) as server:
        created = server.send("alice", Request("POST", json={"title": "Buy milk"}))
        assert created.status == 201
        assert created.json["title"] == "Buy milk"
        assert server.send("alice", Request("GET", "/1")).json == created.json
        assert server.send("mallory", Request("GET", "/1")).status == 404
        assert server.send("alice", Request("GET", "/1", headers=(("Authorization", "Bearer x"),))).status == 401
        ready = server.raw(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (ready.status, ready.json) == (200, {"status": "ok"})


def log_of_start(url: str, folder: Path, seconds: float = WAIT_LIMIT) -> str:
    """Return the log of a server on this database: as soon as it has a readiness problem, or after `seconds`."""
    with serve(url, GUNICORN_CMD_ARGS=f"--capture-output --error-logfile {folder}/log"):
        deadline = time.monotonic() + seconds
        while "not ready" not in (written := (folder / "log").read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "Traceback" not in written
    assert written.count("not ready") <= 1, "logged by more than one worker"
    (folder / "log").unlink()
    return written


def test_readiness_problems_are_logged_at_the_start(postgresql_url: str, tmp_path: Path):
    assert "not ready" not in log_of_start(postgresql_url, tmp_path, 2)
    log = log_of_start(postgres.as_superuser(postgresql_url), tmp_path)
    assert "not ready: The database role of the service is a superuser or has BYPASSRLS" in log
    log = log_of_start(f"sqlite:///{tmp_path}/unmigrated.db", tmp_path)
    assert "not ready: The database is not migrated" in log


def test_the_access_log_has_neither_the_query_string_nor_the_token(tmp_path: Path):
    url, secret = f"sqlite:///{tmp_path}/x.db", token("alice")
    migrate(url)
    with launch(url, "wsgi:app", log=tmp_path / "log", WEB_CONCURRENCY="1") as (_, server):
        headers = f"Authorization: Bearer {secret}\r\nX-Request-Id: find-me\r\nHost: x\r\n"
        target = f"/api/alice/tasks?q=private&access_token={secret}"
        assert server.raw(f"GET {target} HTTP/1.1\r\n{headers}\r\n".encode()).status == 400
    written = (tmp_path / "log").read_text()
    assert re.search(r'"GET /api/alice/tasks" 400 \d+ \d+ms find-me', written)
    assert "private" not in written
    assert secret not in written


# Connects to the database before the fork: hooks.post_fork discards that connection in each worker.
CONNECTS_BEFORE_FORK = """
from sqlalchemy import text
from wsgi import app
from taskapi.database.base import db

with app.app_context(), db.engine.connect() as connection:
    connection.execute(text("SELECT 1"))
"""


@pytest.mark.parametrize(
    "module", ["wsgi", "early"], ids=["no-connection-before-the-fork", "connection-before-the-fork"]
)
def test_each_worker_has_its_own_database_connections(postgresql_url: str, tmp_path: Path, module: str):
    migrate(postgresql_url)
    (tmp_path / "early.py").write_text(CONNECTS_BEFORE_FORK)
    try:
        with launch(
            postgresql_url, f"{module}:app", WEB_CONCURRENCY="2", PYTHONPATH=os.pathsep.join((str(ROOT), str(tmp_path)))
        ) as (process, server):
            workers = workers_of(process, 2)
            assert len(workers) == 2
            inherited = sockets(process.pid)
            deadline = time.monotonic() + WAIT_LIMIT
            own: list[set[str]] = [set(), set()]
            while not all(own) and time.monotonic() < deadline:
                responses = server.race("alice", [Request("POST", json={"title": "x"})] * 8)
                assert {response.status for response in responses} == {201}
                # The clients' sockets are closed by now; the only sockets besides the listener lead to PostgreSQL.
                time.sleep(0.1)
                own = [sockets(worker) - inherited for worker in workers]
            assert all(own), "one worker served no request"
            assert not own[0] & own[1]
            with closing_engine(postgresql_url) as connection:
                query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi'"
                assert connection.execute(text(query)).scalar_one() >= 2
            listed = server.send("alice", Request("GET")).json
            assert sorted(task["id"] for task in listed) == list(range(1, len(listed) + 1))
    finally:
        delete_all_rows(postgresql_url)


@contextmanager
def closing_engine(url: str) -> Iterator[Connection]:
    engine = create_engine(Config.from_env({"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url}).database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


# Stop and reload


def test_sigterm_lets_running_requests_finish(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    statuses: list[int] = []
    sent = threading.Event()
    create = Request("POST", json={"title": "Kept"})
    with (
        launch(url, "wsgi:app", WEB_CONCURRENCY="2") as (process, server),
        closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")  # the request waits for this lock
        request = threading.Thread(target=lambda: statuses.append(server.send("alice", create, sent.set).status))
        request.start()
        assert sent.wait(WAIT_LIMIT)
        time.sleep(0.5)
        assert statuses == []
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None, "gunicorn did not wait for the request"
        other.execute("ROLLBACK")
        request.join(CLIENT_TIMEOUT)
        assert statuses == [201]
        assert process.wait(STOPPING) == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        assert database.execute("SELECT title FROM tasks").fetchall() == [("Kept",)]


SLOW_TO_BOOT = f"""
import time

exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
original_post_fork = post_fork


def post_fork(server, worker):
    original_post_fork(server, worker)
    if worker.age == 2:
        time.sleep(3)
"""


def test_a_worker_obeys_a_sigterm_that_arrives_while_it_boots(tmp_path: Path):
    """The inherited handlers of the master queued the signal, and the worker was killed after 20 s."""
    (tmp_path / "slow.conf.py").write_text(SLOW_TO_BOOT)
    environ = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": f"--config {tmp_path}/slow.conf.py"}
    with launch(f"sqlite:///{tmp_path}/x.db", "wsgi:app", **environ) as (process, _):
        workers_of(process, 2)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPING) == 0
        assert time.monotonic() - begin < 15


def test_an_idle_server_stops_within_10_s(tmp_path: Path):
    with launch(f"sqlite:///{tmp_path}/x.db", "wsgi:app", WEB_CONCURRENCY="2") as (process, _):
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPING) == 0
        assert time.monotonic() - begin < 10


def test_a_reload_with_sighup_loses_no_request(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    with launch(url, "wsgi:app", WEB_CONCURRENCY="2", RATE_LIMIT="off") as (process, server):
        first = set(workers_of(process, 2))
        statuses = []
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + WAIT_LIMIT
        while (first & set(child_processes(process.pid)) or len(statuses) < 20) and time.monotonic() < deadline:
            statuses.append(server.send("alice", Request("POST", json={"title": "x"})).status)
        assert set(statuses) == {201}
        assert not first & set(child_processes(process.pid)), "the old workers still run"
        listed = json.loads(server.send("alice", Request("GET")).body)
    assert len(listed) == len(statuses)
