"""How the service starts, serves and stops in production: a real gunicorn, run as an operator runs it."""

from __future__ import annotations

import errno
import http.client
import io
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from gunicorn.config import Config as GunicornConfig
from gunicorn.glogging import Logger
from sqlalchemy import Connection, create_engine, text

from taskapi.config import BETTER_AUTH_DEFAULT_SECRET, DEVELOPMENT_SECRET, Config
from taskapi.server.worker import ACCESS_LOG_FORMAT, AccessLogger
from tests import postgres
from tests.conftest import SECRET, empty, migrate, token
from tests.gunicorn_server import STARTING, STOPPING, Request, Server, free_port, serve
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


def command(port: int, app: str = "wsgi:app") -> list[str]:
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", app]


def start_in_vain(**environ: str) -> str:
    """What gunicorn says when it refuses to start."""
    done = subprocess.run(
        command(free_port()),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=STARTING,
    )
    assert done.returncode != 0
    return done.stdout


@contextmanager
def running(
    database_url: str, app: str = "wsgi:app", **environ: str
) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    """A gunicorn whose process the test holds in its own hands."""
    port = free_port()
    process = subprocess.Popen(
        command(port, app),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": database_url, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None
        yield process, Server(port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """Its workers, once they are all there: they are forked one after the other."""
    return until(lambda: found if len(found := children(process.pid)) >= count else [])


def sockets(pid: int) -> set[str]:
    """The sockets that a process has open, by the kernel's names for them."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(descriptor.readlink()))
        except OSError:
            continue  # closed meanwhile
    return {name for name in found if name.startswith("socket:")}


# Starting.


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        pytest.param({}, "no key source: set BETTER_AUTH_SECRET", id="no-key-source"),
        pytest.param({"BETTER_AUTH_SECRET": ""}, "no key source: set BETTER_AUTH_SECRET", id="empty-secret"),
        pytest.param({"BETTER_AUTH_SECRET": "short"}, "is shorter than 32 bytes", id="short-secret"),
        pytest.param(
            {"BETTER_AUTH_SECRET": DEVELOPMENT_SECRET},
            "is the development secret of .flaskenv",
            id="development-secret",
        ),
        pytest.param(
            {"BETTER_AUTH_SECRET": BETTER_AUTH_DEFAULT_SECRET + "0" * 32},
            "is the default secret of Better Auth",
            id="default-secret",
        ),
    ],
)
def test_it_refuses_to_start_without_a_key_that_is_a_secret(environ: dict[str, str], said: str):
    output = start_in_vain(**environ)
    assert output.startswith("taskapi cannot start:\n  - ")
    assert said in output
    assert "Traceback" not in output


def test_it_names_every_problem_at_once_and_no_value():
    output = start_in_vain(
        BETTER_AUTH_SECRET="s3cret",
        BETTER_AUTH_URL="s3cret",
        DATABASE_URL="mysql://me:s3cret@host/x",
        CORS_ORIGINS="s3cret",
        JWT_MAX_LIFETIME="s3cret",
        REQUIRE_IF_MATCH="s3cret",
        LOG_LEVEL="s3cret",
    )
    named = re.findall(r"^  - (\w+)", output, re.MULTILINE)
    assert named == [
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


def test_an_empty_variable_counts_as_absent(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    with serve(url, PORT="", LOG_LEVEL="", CORS_ORIGINS="", BETTER_AUTH_URL="", WEB_CONCURRENCY="1") as server:
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status == 200


NEEDED_LATER = ("alembic", "apispec", "flask_migrate", "icalendar", "limits")


def test_it_imports_nothing_that_only_a_command_or_an_export_needs():
    started = f"""
import runpy, sys
runpy.run_path("gunicorn.conf.py")
import wsgi
print([name for name in {NEEDED_LATER} if name in sys.modules])
"""
    environ = {"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET}
    done = subprocess.run([sys.executable, "-c", started], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


# Serving.


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    yield database_url
    empty(database_url)


def test_it_serves(url: str):
    with serve(url) as server:
        made = server.send("alice", Request("POST", json={"title": "Buy milk"}))
        assert made.status == 201
        assert made.json["title"] == "Buy milk"
        assert server.send("alice", Request("GET", "/1")).json == made.json
        assert server.send("mallory", Request("GET", "/1")).status == 404
        assert server.send("alice", Request("GET", "/1", headers=(("Authorization", "Bearer x"),))).status == 401
        ready = server.raw(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (ready.status, ready.json) == (200, {"status": "ok"})


def starting_says(url: str, folder: Path, seconds: float = PATIENCE) -> str:
    """What a server that starts on this database writes down, as soon as it misses something, or after so long."""
    with serve(url, GUNICORN_CMD_ARGS=f"--capture-output --error-logfile {folder}/log"):
        deadline = time.monotonic() + seconds
        while "not ready" not in (written := (folder / "log").read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "Traceback" not in written
    assert written.count("not ready") <= 1, "one worker is enough to say it"
    (folder / "log").unlink()
    return written


def test_starting_it_tells_what_keeps_it_from_being_ready(postgresql_url: str, tmp_path: Path):
    assert "not ready" not in starting_says(postgresql_url, tmp_path, 2)
    said = starting_says(postgres.beyond_walls(postgresql_url), tmp_path)
    assert "not ready: The database role of the service is a superuser or has BYPASSRLS" in said
    said = starting_says(f"sqlite:///{tmp_path}/unmigrated.db", tmp_path)
    assert "not ready: The database is not migrated" in said


def test_the_access_log_keeps_no_query_string_and_no_token(tmp_path: Path):
    url, secret = f"sqlite:///{tmp_path}/x.db", token("alice")
    migrate(url)
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command(port),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "WEB_CONCURRENCY": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: answers(port))
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                headers = {"Authorization": f"Bearer {secret}", "X-Request-Id": "find-me"}
                connection.request("GET", f"/api/alice/tasks?q=private&access_token={secret}", headers=headers)
                assert connection.getresponse().status == 400
        finally:
            process.terminate()
            process.wait(STOPPING)
    written = (tmp_path / "log").read_text()
    assert re.search(r'"GET /api/alice/tasks" 400 \d+ \d+ms find-me', written)
    assert "private" not in written
    assert secret not in written


Lines = Callable[..., list[str]]


def made(log: logging.Logger) -> list[logging.Handler]:
    """The handlers that gunicorn has given a log."""
    return [handler for handler in log.handlers if hasattr(handler, "_gunicorn")]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """What a kind of log writes for one request."""
    file = tmp_path / "access.log"

    def write(
        kind: type[Logger], line: str = ACCESS_LOG_FORMAT, path: str | None = "/api/alice/tasks", **others: Any
    ) -> list[str]:
        file.unlink(missing_ok=True)
        settings = GunicornConfig()
        settings.set("accesslog", str(file))
        settings.set("access_log_format", line)
        for name, value in others.items():
            settings.set(name, value)
        answer = SimpleNamespace(status="201 Created", sent=71, headers=[("ETag", '"1"'), ("X-Request-Id", "find-me")])
        asked = SimpleNamespace(headers=[("ACCEPT", "*/*")], method=path and "POST", path=path)
        environ = {"REMOTE_ADDR": "::1", "REQUEST_METHOD": "POST", "PATH_INFO": unquote(path or ""), "QUERY_STRING": ""}
        environ |= {"RAW_URI": path or "", "SERVER_PROTOCOL": "HTTP/1.1"}
        log = kind(settings)
        log.access(answer, asked, environ, timedelta(seconds=3, microseconds=4567))
        for handler in made(log.access_log) + made(log.error_log):
            handler.close()
        return file.read_text().splitlines()

    yield write
    for name in ("gunicorn.access", "gunicorn.error"):
        for handler in made(logging.getLogger(name)):
            logging.getLogger(name).removeHandler(handler)


@pytest.mark.parametrize("line", [ACCESS_LOG_FORMAT, '%(h)s %(l)s %(t)s "%(r)s" %({accept}i)s %({x-request-id}o)s'])
def test_the_access_line_says_what_gunicorns_own_would(lines: Lines, line: str):
    assert lines(AccessLogger, line) == lines(Logger, line) != []


@pytest.mark.parametrize("line", [ACCESS_LOG_FORMAT, "%(U)s"])
@pytest.mark.parametrize("path", ['/a%0a127.0.0.1%20"GET', "/%0d%0a%1b[31m", "/%e2%80%a8%c2%85"])
def test_whatever_the_path_is_it_makes_one_line(lines: Lines, line: str, path: str):
    """Decoded, as gunicorn has it, a line break in it begins a line that somebody else has written (CWE-117)."""
    (written,) = lines(AccessLogger, line, path)
    assert path.replace('"', '\\"') in written
    assert len(lines(Logger, line, path)) > 1, "gunicorn's own would be safe, too"


def test_the_access_line_of_what_could_not_be_read_is_written_too(lines: Lines):
    assert lines(AccessLogger, path=None) == ['::1 "None -" 201 71 3004ms find-me']


def test_the_access_line_goes_wherever_the_operator_lets_it(lines: Lines):
    class Elsewhere(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((record.name, record.levelname, record.getMessage()))

    heard: list[tuple[str, str, str]] = []
    elsewhere = Elsewhere()
    logging.getLogger("gunicorn.access").addHandler(elsewhere)
    (written,) = lines(AccessLogger)
    logging.getLogger("gunicorn.access").removeHandler(elsewhere)
    assert heard == [("gunicorn.access", "INFO", written)]


def test_the_access_line_goes_to_syslog_too(lines: Lines):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        address = f"udp://127.0.0.1:{listener.getsockname()[1]}"
        (written,) = lines(AccessLogger, syslog=True, syslog_addr=address)
        heard = listener.recv(1000).decode()
    assert heard.rstrip("\0").endswith(written)


def test_a_file_that_could_not_be_opened_again_is_written_as_soon_as_it_can(lines: Lines):
    """After USR1, which a rotation of logs sends: gunicorn leaves such a handler without a stream."""

    class Reopened(AccessLogger):
        def access(self, *request: Any) -> None:
            for handler in made(self.access_log):
                handler.close()
                assert vars(handler)["stream"] is None
            super().access(*request)

    assert len(lines(Reopened)) == 1


def test_a_full_disk_under_the_access_log_fails_no_answer(lines: Lines, monkeypatch: pytest.MonkeyPatch):
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logging.FileHandler, "_open", lambda _: Full())
    assert lines(AccessLogger) == []


# A connection made before the fork would be shared by the workers: what `post_fork` is there for.
EARLY = """
from sqlalchemy import text
from wsgi import app
from taskapi.database.base import db

with app.app_context(), db.engine.connect() as connection:
    connection.execute(text("SELECT 1"))
"""


@pytest.mark.parametrize("module", ["wsgi", "early"], ids=["nothing-connected-before", "connected-before-the-fork"])
def test_each_worker_has_connections_of_its_own(postgresql_url: str, tmp_path: Path, module: str):
    migrate(postgresql_url)
    (tmp_path / "early.py").write_text(EARLY)
    try:
        with running(
            postgresql_url, f"{module}:app", WEB_CONCURRENCY="2", PYTHONPATH=os.pathsep.join((str(ROOT), str(tmp_path)))
        ) as (process, server):
            workers = workers_of(process, 2)
            assert len(workers) == 2
            inherited = sockets(process.pid)
            deadline = time.monotonic() + PATIENCE
            own: list[set[str]] = [set(), set()]
            while not all(own) and time.monotonic() < deadline:
                done = server.race("alice", [Request("POST", json={"title": "x"})] * 8)
                assert {answer.status for answer in done} == {201}
                # The sockets of clients are gone by now; what is left beside the listener leads to PostgreSQL.
                time.sleep(0.1)
                own = [sockets(worker) - inherited for worker in workers]
            assert all(own), "one worker never served"
            assert not own[0] & own[1]
            with closing_engine(postgresql_url) as connection:
                ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi'"
                assert connection.execute(text(ours)).scalar_one() >= 2
            listed = server.send("alice", Request("GET")).json
            assert sorted(task["id"] for task in listed) == list(range(1, len(listed) + 1))
    finally:
        empty(postgresql_url)


@contextmanager
def closing_engine(url: str) -> Iterator[Connection]:
    engine = create_engine(Config.from_env({"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url}).database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


# Stopping.


def test_told_to_stop_it_finishes_what_is_under_way(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    answered: list[int] = []
    sent = threading.Event()
    create = Request("POST", json={"title": "Kept"})
    with (
        running(url, WEB_CONCURRENCY="2") as (process, server),
        closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")  # the request has to wait for this
        request = threading.Thread(target=lambda: answered.append(server.send("alice", create, sent.set).status))
        request.start()
        assert sent.wait(PATIENCE)
        time.sleep(0.5)
        assert answered == []
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None, "it did not wait"
        other.execute("ROLLBACK")
        request.join(10)
        assert answered == [201]
        assert process.wait(STOPPING) == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        assert database.execute("SELECT title FROM tasks").fetchall() == [("Kept",)]


SLOW_TO_BOOT = f"""
import time

exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
at_once = post_fork


def post_fork(server, worker):
    at_once(server, worker)
    if worker.age == 2:
        time.sleep(3)
"""


def test_a_worker_that_is_told_to_stop_while_it_boots_stops(tmp_path: Path):
    """It noted that with the master's handlers, and was killed after 20 s."""
    (tmp_path / "slow.conf.py").write_text(SLOW_TO_BOOT)
    environ = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": f"--config {tmp_path}/slow.conf.py"}
    with running(f"sqlite:///{tmp_path}/x.db", **environ) as (process, _):
        workers_of(process, 2)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPING) == 0
        assert time.monotonic() - begin < 15


def test_idle_it_stops_at_once(tmp_path: Path):
    with running(f"sqlite:///{tmp_path}/x.db", WEB_CONCURRENCY="2") as (process, _):
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPING) == 0
        assert time.monotonic() - begin < 10


def test_reloading_loses_no_request(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    with running(url, WEB_CONCURRENCY="2", RATE_LIMIT="off") as (process, server):
        first = set(workers_of(process, 2))
        statuses = []
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while (first & set(children(process.pid)) or len(statuses) < 20) and time.monotonic() < deadline:
            statuses.append(server.send("alice", Request("POST", json={"title": "x"})).status)
        assert set(statuses) == {201}
        assert not first & set(children(process.pid)), "the old workers are still there"
        listed = json.loads(server.send("alice", Request("GET")).body)
    assert len(listed) == len(statuses)
