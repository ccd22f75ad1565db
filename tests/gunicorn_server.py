"""The service as production runs it: gunicorn, several processes, a real socket."""

from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

from tests.conftest import SECRET, token

ROOT = Path(__file__).resolve().parent.parent
STARTING = 60
"""Seconds that gunicorn may take to answer first."""
STOPPING = 25
"""Seconds that it may take to end; its own grace is shorter."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """What one of several racing clients sends; `path` is below `/api/<user>/tasks`."""

    method: str
    path: str = ""
    json: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Server:
    """A running gunicorn."""

    port: int

    def send(self, user: str, request: Request, ready: Callable[[], object] = lambda: None) -> Answer:
        """Send with the user's token, on a connection of its own; `ready` is called when it stands."""
        headers = {"Authorization": f"Bearer {token(user)}", **dict(request.headers)}
        body = None
        if request.json is not None:
            body, headers["Content-Type"] = json.dumps(request.json), "application/json"
        return self._exchange(request.method, f"/api/{user}/tasks{request.path}", body, headers, ready)

    def tell(self, notice: str, ready: Callable[[], object] = lambda: None) -> Answer:
        """Send a logout notice, as the issuer does."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange("POST", "/backchannel-logout", urlencode({"logout_token": notice}), headers, ready)

    def _exchange(
        self, method: str, path: str, body: str | None, headers: dict[str, str], ready: Callable[[], object]
    ) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.connect()
            ready()
            connection.request(method, path, body, headers)
            return _answer(connection.getresponse())

    def race(self, user: str, requests: Sequence[Request]) -> list[Answer]:
        """Send all of them at the same moment, each on a connection of its own."""
        barrier = Barrier(len(requests))
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(lambda request: self.send(user, request, barrier.wait), requests))

    def raw(self, *pieces: bytes, hang_up: bool = False, timeout: float = 10) -> Answer:
        """Send bytes as they are, and no more; TimeoutError if no answer comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            for piece in pieces:
                connection.sendall(piece)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            with closing(http.client.HTTPResponse(connection)) as response:
                response.begin()
                return _answer(response)


def _answer(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, response.headers, response.read())


@contextmanager
def serve(database_url: str, *, port: int | None = None, **settings: str) -> Iterator[Server]:
    """`gunicorn wsgi:app` on a port of the loopback, with the tests' secret; stopped as an operator stops it."""
    port = port or free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "WEB_CONCURRENCY": "3",
        **settings,
    }
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "wsgi:app"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_up(process, port, log)
            yield Server(port)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOPPING)
            finally:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on; Linux gives those below 32768 to nobody who asks for any."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED:
                return port


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Any) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
                connection.request("GET", "/healthz")
                if connection.getresponse().read():
                    return
        except OSError:
            time.sleep(0.05)
    log.seek(0)
    raise AssertionError(f"gunicorn did not come up:\n{log.read().decode(errors='replace')}")
