"""Who is measured, and how each is started as its own documentation says."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from .database import PEERS, free_port, global_id, user
from .workloads import ISSUER, SECRET, headers

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.executable).parent
PEERS_VENV = Path(__file__).parent / ".venv" / "bin"

PROCESSES = 2
STARTING = 30
"""Seconds that a server may take to answer first."""


def own_id(_number: int, task: int) -> int:
    """taskapi counts each user's tasks from 1."""
    return task


@dataclass(frozen=True)
class Contestant:
    """A program that answers the workloads."""

    name: str
    title: str
    command: tuple[str, ...]
    """`{port}` and `{processes}` are filled in."""
    database: str
    """Which of the databases it uses: `taskapi`, `embedded` or `peers`."""
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    task_id: Callable[[int, int], int] = global_id
    processes: int = PROCESSES

    @property
    def is_ours(self) -> bool:
        """Whether it has what only taskapi has."""
        return self.database != "peers"


GUNICORN = (str(VENV / "gunicorn"), "--config", str(ROOT / "gunicorn.conf.py"), "--access-logfile", "/dev/null")
AS_SHIPPED = {
    "JWT_ISSUER": ISSUER,
    "JWT_AUDIENCE": ISSUER,
    "JWT_MAX_LIFETIME": "7d",
    # Both are counted as ever, but nobody here is refused.
    "RATE_LIMIT": "100000000/minute",
    "MAX_TASKS_PER_USER": "10000000",
}

FLOOR = Contestant(
    "floor", "floor: bare WSGI", (str(VENV / "gunicorn"), "--config", "python:bench.floor", "bench.floor:app"), "peers"
)
TASKAPI = Contestant("taskapi", "taskapi, PostgreSQL", (*GUNICORN, "wsgi:app"), "taskapi", AS_SHIPPED, task_id=own_id)
EMBEDDED = Contestant("sqlite", "taskapi, SQLite", TASKAPI.command, "embedded", AS_SHIPPED, task_id=own_id)
EXPRESS = Contestant("express", "Express + jsonwebtoken + pg", ("node", "express.js"), "peers", folder=PEERS)
FASTIFY = Contestant("fastify", "Fastify + pg", ("node", "fastify.js"), "peers", folder=PEERS)
FASTAPI = Contestant(
    "fastapi",
    "FastAPI + SQLModel + uvicorn",
    (
        *(str(PEERS_VENV / "uvicorn"), "fastapi_sqlmodel:app", "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "{processes}", "--no-access-log"),
    ),
    "peers",
    folder=PEERS,
)
FLASK = Contestant(
    "flask",
    "Flask + flask-jwt-extended + marshmallow",
    (
        *(str(PEERS_VENV / "gunicorn"), "--workers", "{processes}", "--threads", "8"),
        *("--bind", "127.0.0.1:{port}", "flask_tutorial:app"),
    ),
    "peers",
    folder=PEERS,
)


def single(contestant: Contestant) -> Contestant:
    """The same with one process: what it has prepared on a connection is there for the next request."""
    return replace(contestant, processes=1)


ALONE = replace(single(TASKAPI), name="alone", title="taskapi, one process")
EVERYONE = (FLOOR, TASKAPI, EMBEDDED, FASTAPI, FLASK, EXPRESS, FASTIFY)


@dataclass
class Running:
    """A contestant's server, and every process of it."""

    contestant: Contestant
    port: int
    master: subprocess.Popen[bytes]
    seconds_to_answer: float = 0.0

    @property
    def workers(self) -> list[int]:
        """Those that answer."""
        return descendants(self.master.pid) or [self.master.pid]

    def ask(
        self, method: str, number: int, path: str, *, body: str | None = None, extra: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a connection of its own; `path` is below the user's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {**headers(number), **(extra or {}), **({"Content-Type": "application/json"} if body else {})}
        connection.request(method, f"/api/{user(number)}{path}", body, sent)
        response = connection.getresponse()
        answered = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        connection.close()
        return answered


@contextmanager
def serve(contestant: Contestant, database_url: str) -> Iterator[Running]:
    """Start a contestant and wait for its first answer."""
    port = free_port()
    filled = {"port": str(port), "processes": str(contestant.processes)}
    environ = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
        **contestant.environ,
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "WEB_CONCURRENCY": str(contestant.processes),
        "NODE_ENV": "production",
    }
    began = time.monotonic()
    master = subprocess.Popen(
        [part.format(**filled) for part in contestant.command],
        cwd=contestant.folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    running = Running(contestant, port, master)
    try:
        _wait(running, began)
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(master.pid, signal.SIGTERM)
        try:
            master.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(master.pid, signal.SIGKILL)
            master.wait()


def _wait(running: Running, began: float) -> None:
    while True:
        if running.master.poll() is not None:
            raise RuntimeError(f"{running.contestant.name} ended by itself: {' '.join(running.contestant.command)}")
        try:
            status, _, body = running.ask("GET", 0, "/tasks?limit=20")
        except OSError:
            if time.monotonic() - began > STARTING:
                raise
            time.sleep(0.005)
        else:
            running.seconds_to_answer = time.monotonic() - began
            if status != 200:
                raise RuntimeError(f"{running.contestant.name} answers {status}: {body[:200]!r}")
            return


def descendants(pid: int) -> list[int]:
    """The processes below one, at any depth."""
    found: list[int] = []
    for thread in _threads(pid):
        with suppress(OSError):
            children = (thread / "children").read_text().split()
            for child in map(int, children):
                found += [child, *descendants(child)]
    return found


def cpu(pids: Sequence[int]) -> dict[str, float]:
    """Microseconds that each thread of these processes has been on a processor."""
    spent = {}
    for pid in pids:
        for thread in _threads(pid):
            with suppress(OSError):
                spent[thread.name] = int((thread / "schedstat").read_text().split()[0]) / 1000
    return spent


def spent_since(before: dict[str, float], after: dict[str, float]) -> float:
    """What was spent in between; a thread that has ended meanwhile had nothing to do."""
    return sum(spent - before.get(thread, 0) for thread, spent in after.items())


def memory(pid: int) -> tuple[float, float]:
    """Megabytes of a process: its share of what it shares (PSS), and all that it maps (RSS)."""
    sizes = dict.fromkeys(("Pss", "Rss"), 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return sizes["Pss"] / 1024, sizes["Rss"] / 1024


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
