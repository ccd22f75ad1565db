"""The service with its production settings, in a form that lets a test signal and kill its processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
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
from tests.gunicorn_server import ROOT, STARTING, STOPPING, ServerResponse, spawn
from tests.waiting import until

CLIENT_TIMEOUT = 60
"""Seconds that a client of these tests waits for a response: longer than any limit of the service."""

NO_RESPONSE = "hung up"
"""Outcome of a request, in place of its status: the connection ended before a response arrived."""


@dataclass
class Service:
    """A gunicorn master, its workers and the file of their output."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_workers(self, count: int) -> None:
        """Send SIGKILL to `count` workers, like the out-of-memory killer; wait until the master replaced them."""
        workers = self.workers()
        for worker in workers[:count]:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        until(lambda: len(set(self.workers()) - set(workers[:count])) >= len(workers))

    def get(self, path: str, token: str | None = None, timeout: float = CLIENT_TIMEOUT) -> ServerResponse:
        """Send a GET request on a new connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return ServerResponse(response.status, response.headers, response.read())

    def is_up(self) -> bool:
        """Return whether `/healthz` returns 200 within two seconds."""
        try:
            return self.get("/healthz", timeout=2).status == 200
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def run_service(
    database_url: str,
    *,
    workers: int = 3,
    settings: str = "gunicorn.conf.py",
    app: str = "wsgi:app",
    code: Path = ROOT,
    listener: socket.socket | None = None,
    **environment: str,
) -> Iterator[Service]:
    """Run gunicorn until the context ends.

    `settings` is its configuration file, `app` the WSGI application, `code` the folder of both; it serves on
    `listener`, or a socket of its own. `environment` adds environment variables.
    """
    environ = {
        "PATH": os.environ["PATH"],
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "RATE_LIMIT": "off",
        "WEB_CONCURRENCY": str(workers),
        **environment,
    }
    command = [sys.executable, "-m", "gunicorn"]
    with tempfile.TemporaryDirectory(prefix="taskapi-service-") as folder:
        log = Path(folder) / "log"
        with listener.dup() if listener else socket.create_server(("127.0.0.1", 0)) as own:
            process = spawn(lambda fd: [*command, "-c", settings, "--bind", f"fd://{fd}", app], environ, log, own, code)
            running = Service(own.getsockname()[1], process, log)
        try:
            deadline = time.monotonic() + STARTING
            while not (len(running.workers()) >= workers and running.is_up()):
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, f"gunicorn did not start:\n{log.read_text(errors='replace')}"
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(STOPPING)
            finally:
                process.kill()
                process.wait()


def record(record_property: Callable[[str, Any], None], name: str, **figures: Any) -> None:
    """Add figures to the test report, and append them as a line of JSON to the file that FIGURES names."""
    for key, value in figures.items():
        record_property(key, value)
    line = json.dumps({"name": name, **figures})
    print(line)
    if path := os.environ.get("FIGURES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")
