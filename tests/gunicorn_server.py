"""gunicorn with the production settings, in several processes, on a socket that the test has bound for it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
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
"""Seconds until the first response after the start; a limit of the tests, not a promise of the service."""
STOPPING = 60
"""Seconds until the server has stopped after SIGTERM; likewise."""
CLIENT_TIMEOUT = 60
"""Seconds that a client of the tests waits for a response; likewise."""


@dataclass(frozen=True)
class ServerResponse:
    """A complete HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """A request of a user; `path` is relative to `/api/<user>/tasks`."""

    method: str
    path: str = ""
    json: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Server:
    """Client of a server on a port of 127.0.0.1."""

    port: int

    def send(self, user: str, request: Request, ready: Callable[[], object] = lambda: None) -> ServerResponse:
        """Send a request with the user's token on a new connection; call `ready` between connecting and sending."""
        headers = {"Authorization": f"Bearer {token(user)}", **dict(request.headers)}
        body = None
        if request.json is not None:
            body, headers["Content-Type"] = json.dumps(request.json), "application/json"
        return self._exchange(request.method, f"/api/{user}/tasks{request.path}", body, headers, ready)

    def send_logout_token(self, logout_token: str, ready: Callable[[], object] = lambda: None) -> ServerResponse:
        """Send a logout token (OpenID Connect Back-Channel Logout), like the issuer."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange("POST", "/backchannel-logout", urlencode({"logout_token": logout_token}), headers, ready)

    def _exchange(
        self, method: str, path: str, body: str | None, headers: dict[str, str], ready: Callable[[], object]
    ) -> ServerResponse:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=CLIENT_TIMEOUT)) as connection:
            connection.connect()
            ready()
            connection.request(method, path, body, headers)
            return _read_response(connection.getresponse())

    def race(self, user: str, requests: Sequence[Request]) -> list[ServerResponse]:
        """Send all requests at the same moment, each on its own connection; return the responses in the same order."""
        barrier = Barrier(len(requests))
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(lambda request: self.send(user, request, barrier.wait), requests))

    def raw(self, *pieces: bytes, hang_up: bool = False, timeout: float = CLIENT_TIMEOUT) -> ServerResponse:
        """Send only these bytes, then FIN if `hang_up`; TimeoutError if there is no response within `timeout` s."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            for piece in pieces:
                connection.sendall(piece)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            with closing(http.client.HTTPResponse(connection)) as response:
                response.begin()
                return _read_response(response)


def _read_response(response: http.client.HTTPResponse) -> ServerResponse:
    return ServerResponse(response.status, response.headers, response.read())


@contextmanager
def serve(database_url: str, *, port: int = 0, **settings: str) -> Iterator[Server]:
    """Run `gunicorn wsgi:app` with the tests' secret until the context ends; `settings` are environment variables."""
    with launch(database_url, "wsgi:app", port=port, **settings) as (_, server):
        yield server


@contextmanager
def launch(
    database_url: str, *arguments: str, port: int = 0, log: Path | None = None, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    """Run gunicorn with these command line arguments; yield its master process and a client, once it responds.

    Port 0 is any free port. Output goes into the file `log`; by default it is shown if the server does not start.
    """
    environ = {
        "PATH": os.environ["PATH"],
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database_url,
        "WEB_CONCURRENCY": "2",
        **settings,
    }
    with tempfile.TemporaryDirectory(prefix="taskapi-server-") as folder:
        output = log or Path(folder) / "log"
        process, port = spawn_on_socket(
            lambda fd: [sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}", *arguments], environ, output, port
        )
        with stopping(process):
            wait_until_up(process, port, output)
            yield process, Server(port)


def spawn_on_socket(
    command: Callable[[int], list[str]], environ: dict[str, str], output: Path, port: int = 0, folder: Path = ROOT
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a process in a folder that inherits a listening socket; return it and the port.

    `command` is called with the file descriptor. No other process can take the port between choosing and binding it.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        # This process closes its copy: when the server has ended, connections are refused.
        return spawn(command, environ, output, listener, folder), listener.getsockname()[1]


def spawn(
    command: Callable[[int], list[str]], environ: dict[str, str], output: Path, listener: socket.socket, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a folder that inherits this listening socket; `command` is called with the file descriptor."""
    with output.open("ab") as sink:
        return subprocess.Popen(
            command(listener.fileno()),
            cwd=folder,
            env=environ,
            stdout=sink,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )


@contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a server with SIGTERM at the end of the context, like an operator; kill it if that takes too long."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        finally:
            process.kill()
            process.wait()


def wait_until_up(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Wait for the first response; AssertionError with the server's output if there is none."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=STARTING)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
    except (OSError, http.client.HTTPException) as error:
        message = f"the server did not start (exit status {process.poll()}):\n{output.read_text(errors='replace')}"
        raise AssertionError(message) from error
