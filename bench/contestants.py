"""The programs that the benchmark compares, each started as its documentation recommends."""

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

from tests.ports import reserved_port

from .database import PEERS, global_id, user
from .workloads import ISSUER, SECRET, headers

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.executable).parent
PEERS_VENV = Path(__file__).parent / ".venv" / "bin"

PROCESSES = 2
START_TIMEOUT = 30
"""Maximum seconds from the start of a server to its first response."""


def per_user_id(_number: int, task: int) -> int:
    """Return the id of a user's nth task in taskapi, where each user's ids count from 1."""
    return task


@dataclass(frozen=True)
class Contestant:
    """A program under test: its command, environment and database."""

    name: str
    title: str
    command: tuple[str, ...]
    """Command line; `{port}` and `{processes}` are placeholders."""
    database: str
    """Name of the database that it uses: `taskapi`, `embedded` (SQLite) or `peers`."""
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    task_id: Callable[[int, int], int] = global_id
    processes: int = PROCESSES

    @property
    def is_ours(self) -> bool:
        """True for taskapi, which has endpoints that the other contestants lack."""
        return self.database != "peers"


# Without `max_requests`: a worker that is replaced during a slice closes its connections, which wrk counts as failures.
UNLIMITED = ("--max-requests", "0")
GUNICORN = (
    *(str(VENV / "gunicorn"), "--config", str(ROOT / "gunicorn.conf.py"), "--access-logfile", "/dev/null"),
    *UNLIMITED,
)
AS_SHIPPED = {
    "JWT_ISSUER": ISSUER,
    "JWT_AUDIENCE": ISSUER,
    "JWT_MAX_LIFETIME": "7d",
    # The rate limit and the quota are checked as usual, but are high enough that no request is refused.
    "RATE_LIMIT": "100000000/minute",
    "MAX_TASKS_PER_USER": "10000000",
}

FLOOR = Contestant(
    "floor",
    "floor: bare WSGI",
    (str(VENV / "gunicorn"), "--config", "python:bench.floor", *UNLIMITED, "bench.floor:app"),
    "peers",
)
TASKAPI = Contestant(
    "taskapi", "taskapi, PostgreSQL", (*GUNICORN, "wsgi:app"), "taskapi", AS_SHIPPED, task_id=per_user_id
)
EMBEDDED = Contestant("sqlite", "taskapi, SQLite", TASKAPI.command, "embedded", AS_SHIPPED, task_id=per_user_id)
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
    """Return the contestant with one process, so that all requests use connections with prepared statements."""
    return replace(contestant, processes=1)


ALONE = replace(single(TASKAPI), name="alone", title="taskapi, one process")
EVERYONE = (FLOOR, TASKAPI, EMBEDDED, FASTAPI, FLASK, EXPRESS, FASTIFY)


@dataclass
class Running:
    """A running server of a contestant and its processes."""

    contestant: Contestant
    port: int
    master: subprocess.Popen[bytes]
    seconds_to_first_response: float = 0.0

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers; of the server itself if it has no child process."""
        return descendants(self.master.pid) or [self.master.pid]

    def request(
        self, method: str, number: int, path: str, *, body: str | None = None, extra: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request of user `number` on a new connection; `path` is relative to `/api/{user}`.

        Returns the status, the headers with lower-case names, and the body.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        all_headers = {**headers(number), **(extra or {}), **({"Content-Type": "application/json"} if body else {})}
        connection.request(method, f"/api/{user(number)}{path}", body, all_headers)
        response = connection.getresponse()
        result = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        connection.close()
        return result


@contextmanager
def serve(contestant: Contestant, database_url: str) -> Iterator[Running]:
    """Context manager: start a contestant and wait for its first response; stop it at the end."""
    with reserved_port() as port, _start(contestant, database_url, port) as running:
        yield running


@contextmanager
def _start(contestant: Contestant, database_url: str, port: int) -> Iterator[Running]:
    arguments = {"port": str(port), "processes": str(contestant.processes)}
    environ = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")},
        **contestant.environ,
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "WEB_CONCURRENCY": str(contestant.processes),
        "NODE_ENV": "production",
    }
    start_time = time.monotonic()
    master = subprocess.Popen(
        [part.format(**arguments) for part in contestant.command],
        cwd=contestant.folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    running = Running(contestant, port, master)
    try:
        _wait_until_ready(running, start_time)
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(master.pid, signal.SIGTERM)
        try:
            master.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(master.pid, signal.SIGKILL)
            master.wait()


def _wait_until_ready(running: Running, start_time: float) -> None:
    """Poll the server until it responds with 200, and record the seconds since `began` (monotonic clock)."""
    while True:
        if running.master.poll() is not None:
            raise RuntimeError(f"{running.contestant.name} exited: {' '.join(running.contestant.command)}")
        try:
            status, _, body = running.request("GET", 0, "/tasks?limit=20")
        except OSError:
            if time.monotonic() - start_time > START_TIMEOUT:
                raise
            time.sleep(0.005)
        else:
            running.seconds_to_first_response = time.monotonic() - start_time
            if status != 200:
                raise RuntimeError(f"{running.contestant.name}: response {status}: {body[:200]!r}")
            return


def descendants(pid: int) -> list[int]:
    """Return the ids of all child processes of a process, recursively."""
    pids: list[int] = []
    for thread in _threads(pid):
        with suppress(OSError):
            children = (thread / "children").read_text().split()
            for child in map(int, children):
                pids += [child, *descendants(child)]
    return pids


def cpu(pids: Sequence[int]) -> dict[str, float]:
    """Return the CPU time in microseconds of each thread of these processes, by thread id."""
    times = {}
    for pid in pids:
        for thread in _threads(pid):
            with suppress(OSError):
                times[thread.name] = int((thread / "schedstat").read_text().split()[0]) / 1000
    return times


def spent_since(before: dict[str, float], after: dict[str, float]) -> float:
    """Return the CPU time in microseconds between two results of `cpu`; threads that have ended are ignored."""
    return sum(times - before.get(thread, 0) for thread, times in after.items())


def memory(pid: int) -> tuple[float, float]:
    """Return the memory of a process in megabytes: proportional set size (PSS) and resident set size (RSS)."""
    sizes = dict.fromkeys(("Pss", "Rss"), 0)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return sizes["Pss"] / 1024, sizes["Rss"] / 1024


def _threads(pid: int) -> list[Path]:
    """Return the /proc directories of the threads of a process; none if it has ended."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
