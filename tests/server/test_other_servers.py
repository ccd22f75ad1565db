"""Every WSGI server serves tasks correctly, without the gunicorn worker of taskapi/server; it may be slower."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SECRET, migrate, token
from tests.gunicorn_server import ROOT, STARTING, Request, Server, ServerResponse, stopping, wait_until_up


@dataclass(frozen=True)
class Command:
    """Command line of a server that listens on any free port of 127.0.0.1."""

    arguments: tuple[str, ...]
    decodes_chunks: bool = True
    """Whether the server passes the decoded content of a chunked body to the application."""
    is_installed: Callable[[], bool] = lambda: True


def gunicorn(worker_class: str, settings: str) -> Command:
    arguments = ("-m", "gunicorn", "-k", worker_class, "-c", settings, "--bind", "127.0.0.1:0", "wsgi:app")
    return Command((sys.executable, *arguments))


def package(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


# uWSGI is a program and not a module; it compiles when it is installed.
UWSGI = next(filter(None, (shutil.which("uwsgi", path=str(Path(sys.executable).parent)), shutil.which("uwsgi"))), None)
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))

COMMANDS = {
    **{
        f"gunicorn-{worker_class}-{name}": gunicorn(worker_class, settings)
        for worker_class in ("gevent", "sync", "gthread")
        for name, settings in (("our-settings", "gunicorn.conf.py"), ("default-settings", os.devnull))
    },
    "gunicorn-gevent_pywsgi": gunicorn("gevent_pywsgi", "gunicorn.conf.py"),
    "flask-run": Command((sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "0")),
    "waitress": Command(
        (sys.executable, "-m", "waitress", "--listen", "127.0.0.1:0", "wsgi:app"), is_installed=package("waitress")
    ),
    "granian": Command(
        (sys.executable, "-m", "granian", "--interface", "wsgi", "--port", "0", "wsgi:app"),
        is_installed=package("granian"),
    ),
    "uwsgi": Command(
        (
            *(UWSGI or "", "--http-socket", "127.0.0.1:0", "--module", "wsgi:app", "--master", "--die-on-term"),
            *("--need-app", "--pythonpath", SITE_PACKAGES),
        ),
        decodes_chunks=False,
        is_installed=lambda: UWSGI is not None,
    ),
}


def listening_port(process: subprocess.Popen[bytes], output: Path) -> int:
    """Wait until a process or a child of it listens on a TCP port of 127.0.0.1, and return the port."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        inodes = {inode for pid in (process.pid, *children) for inode in socket_inodes(Path(f"/proc/{pid}/fd"))}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            # proc(5): local address, state (0A is LISTEN) and inode of each socket.
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in inodes:
                return int(address.partition(":")[2], 16)
        time.sleep(0.05)
    raise AssertionError(f"the server does not listen:\n{output.read_text(errors='replace')}")


def socket_inodes(descriptors: Path) -> Iterator[str]:
    with suppress(OSError):  # the process has ended
        for descriptor in descriptors.iterdir():
            with suppress(OSError):  # closed meanwhile
                yield descriptor.readlink().name.removeprefix("socket:[").rstrip("]")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('servers')}/x.db"
    migrate(url)
    return url


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Client of a running server, its name (also the user of the tests) and its command."""
    command = COMMANDS[request.param]
    if not command.is_installed():
        pytest.skip(f"{request.param} is not installed")
    output = tmp_path_factory.mktemp("server") / "log"
    environ = {
        "PATH": os.environ["PATH"],
        "BETTER_AUTH_SECRET": SECRET,
        "DATABASE_URL": database,
        "PYTHONPATH": os.pathsep.join((str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep))),
    }
    with output.open("wb") as sink:
        process = subprocess.Popen(command.arguments, cwd=ROOT, env=environ, stdout=sink, stderr=subprocess.STDOUT)
    with stopping(process):
        port = listening_port(process, output)
        wait_until_up(process, port, output)
        yield Server(port), request.param, command
    assert "Traceback" not in output.read_text()


def send_chunked(client: Server, user: str, method: str, path: str, members: Any) -> ServerResponse:
    """Send JSON in two chunks, in one packet: a server may close the connection before it has received the body."""
    head = f"{method} /api/{user}/tasks{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(user)}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = json.dumps(members)
    chunks = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in (body[:5], body[5:], ""))
    return client.raw((head + chunks).encode())


def test_tasks_are_created_toggled_and_listed(server: tuple[Server, str, Command]) -> None:
    client, user, _ = server
    created = client.send(user, Request("POST", json={"title": "Buy milk"}))
    assert (created.status, created.json["completed"]) == (201, False)
    path = f"/{created.json['id']}"
    for completed in (True, False, True):
        toggled = client.send(user, Request("PATCH", f"{path}/complete"))
        assert (toggled.status, toggled.json["completed"]) == (200, completed)
    assert created.json["id"] in [task["id"] for task in client.send(user, Request("GET")).json]
    assert client.send("mallory", Request("GET", path)).status == 404
    assert client.send(user, Request("GET", headers=(("Authorization", "Bearer x"),))).status == 401


def test_concurrent_toggles_are_not_lost(server: tuple[Server, str, Command]) -> None:
    client, user, _ = server
    path = f"/{client.send(user, Request('POST', json={'title': 'Toggle'})).json['id']}"
    responses = client.race(user, [Request("PATCH", f"{path}/complete")] * 7)
    assert [response.status for response in responses] == [200] * 7
    assert client.send(user, Request("GET", path)).json["completed"] is True


def test_a_chunked_body_is_decoded_or_411(server: tuple[Server, str, Command]) -> None:
    client, user, command = server
    path = f"/{client.send(user, Request('POST', json={'title': 'Buy milk'})).json['id']}"
    for _ in range(2):
        response = send_chunked(client, user, "PATCH", f"{path}/complete", {"completed": True})
        if command.decodes_chunks:
            assert (response.status, response.json["completed"]) == (200, True)
        else:
            assert (response.status, response.json["code"]) == (411, "length-required")
    assert client.send(user, Request("GET", path)).json["completed"] is command.decodes_chunks
