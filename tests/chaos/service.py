"""The service in production's shape, in the hands of a test that does to its processes what it likes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import SECRET
from tests.gunicorn_server import STARTING, STOPPING, Answer, spawn_on_socket
from tests.waiting import until

PATIENCE = 30
"""Seconds that a client of these tests waits for an answer: longer than any that the service promises."""


@dataclass
class Service:
    """A gunicorn, its master and its workers."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_workers(self, count: int) -> None:
        """As the kernel does when memory is short; returns when there are as many as before."""
        workers = self.workers()
        for worker in workers[:count]:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        until(lambda: len(set(self.workers()) - set(workers[:count])) >= len(workers))

    def ask(self, path: str, token: str | None = None, timeout: float = PATIENCE) -> Answer:
        """GET, on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def answers(self) -> bool:
        try:
            return self.ask("/healthz", timeout=2).status == 200
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def service(
    database_url: str,
    *,
    workers: int = 3,
    settings: str = "gunicorn.conf.py",
    app: str = "wsgi:app",
    **environment: str,
) -> Iterator[Service]:
    """`gunicorn wsgi:app`; `settings` and `app` may be others than ours, and `environment` adds variables."""
    environ = {
        "PATH": os.environ["PATH"],
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "RATE_LIMIT": "off",
        "WEB_CONCURRENCY": str(workers),
        **environment,
    }
    with tempfile.TemporaryDirectory(prefix="taskapi-service-") as folder:
        log = Path(folder) / "log"
        process, port = spawn_on_socket(
            lambda fd: [sys.executable, "-m", "gunicorn", "-c", settings, "--bind", f"fd://{fd}", app], environ, log
        )
        running = Service(port, process, log)
        try:
            deadline = time.monotonic() + STARTING
            while not (running.answers() and len(running.workers()) >= workers):
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, f"gunicorn did not come up:\n{log.read_text(errors='replace')}"
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(STOPPING)
            finally:
                process.kill()
                process.wait()


def note(record: Callable[[str, Any], None], name: str, **figures: Any) -> None:
    """Keep what was counted: in the report of the tests, and as a line of JSON in the file that FIGURES names."""
    for key, value in figures.items():
        record(key, value)
    line = json.dumps({"name": name, **figures})
    print(line)
    if path := os.environ.get("FIGURES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")
