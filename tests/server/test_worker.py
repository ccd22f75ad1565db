"""The worker: a full worker closes idle connections, and a partial response does not look complete."""

from __future__ import annotations

import http.client
import os
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from gunicorn.config import Config

from taskapi.database.engine import POOL_SIZE
from taskapi.server.worker import cache_settings
from tests.chaos.service import Service, run_service
from tests.conftest import migrate
from tests.gunicorn_server import CLIENT_TIMEOUT, ROOT
from tests.waiting import until

# Settings


def test_cached_settings_have_the_values_of_gunicorns() -> None:
    cfg = Config()
    names = [*cfg.settings, *(name for name, member in vars(Config).items() if isinstance(member, property))]
    expected = {name: getattr(cfg, name) for name in names}
    cache_settings(cfg)
    assert {name: getattr(cfg, name) for name in names} == expected
    assert set(cfg.settings) <= set(vars(cfg))


# A worker with as many connections as it accepts

MAX_CONNECTIONS = 12
SMALL_WORKER = f"""
exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
worker_connections = {MAX_CONNECTIONS}
"""
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def small_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.conf.py").write_text(SMALL_WORKER)
    url = f"sqlite:///{folder}/x.db"
    migrate(url)
    with run_service(url, workers=1, settings=str(folder / "small.conf.py")) as running:
        yield running


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


def connect(running: Service, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", running.port), CLIENT_TIMEOUT))


def send_request(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    with suppress(TimeoutError):
        return connection.recv(1) == b""
    return False


def test_a_full_worker_closes_the_connections_that_are_idle_for_longest(
    small_worker: Service, stack: ExitStack
) -> None:
    old = [connect(small_worker, stack) for _ in range(MAX_CONNECTIONS - 1)]
    for connection in old:
        send_request(connection)
    send_request(old[0])  # now the one that is idle for the shortest time
    new = [connect(small_worker, stack) for _ in range(5)]
    for connection in new:
        send_request(connection)
    time.sleep(0.2)
    is_open = [not is_closed(connection) for connection in old]
    assert (is_open[0], is_open[1:6]) == (True, [False] * 5)
    assert sum(is_open) + len(new) in (MAX_CONNECTIONS - 1, MAX_CONNECTIONS)
    assert not any(is_closed(connection) for connection in new)


def test_a_full_worker_without_idle_connections_closes_each_as_soon_as_it_is_idle(
    small_worker: Service, stack: ExitStack
) -> None:
    busy = [connect(small_worker, stack) for _ in range(MAX_CONNECTIONS)]
    for connection in busy:
        connection.sendall(REQUEST[:-2])
    time.sleep(0.5)
    new = connect(small_worker, stack)
    new.sendall(REQUEST)
    assert is_closed(new) is False
    for connection in busy:
        connection.sendall(REQUEST[-2:])
    new.settimeout(CLIENT_TIMEOUT)
    assert new.recv(4096).startswith(b"HTTP/1.1 200")


# An application that fails

FAILING = """
import os, signal
from flask import Response
from wsgi import app


@app.get("/fails/<how>")
def fails(how):
    if how == "before":
        raise SystemExit

    def pieces():
        yield b"half of it"
        if how == "exception":
            raise RuntimeError
        if how == "OSError":
            raise ConnectionResetError
        if how == "exit":
            raise SystemExit
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        yield b", and the rest"

    return Response(pieces(), headers={"Content-Length": "24"} if how.endswith("length") else None)
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "failing.py").write_text(FAILING)
    url = f"sqlite:///{folder}/x.db"
    migrate(url)
    with run_service(
        url, workers=1, app="failing:app", PYTHONPATH=os.pathsep.join((str(ROOT), str(folder)))
    ) as running:
        yield running


def download(running: Service, path: str, version: bytes, headers: bytes = b"") -> bytes:
    """Return what is received up to the FIN; ConnectionResetError for a reset."""
    with closing(socket.create_connection(("127.0.0.1", running.port), CLIENT_TIMEOUT)) as connection:
        connection.sendall(b"GET %s HTTP/%s\r\nHost: x\r\n%s\r\n" % (path.encode(), version, headers))
        received = b""
        while data := connection.recv(4096):
            received += data
        return received


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"], ids=["close", "keep-alive"])
@pytest.mark.parametrize("how", ["exception", "OSError", "exit", "killed"])
def test_a_partial_http_1_0_response_ends_in_a_reset(failing: Service, how: str, headers: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        download(failing, f"/fails/{how}", b"1.0", headers)


@pytest.mark.parametrize("how", ["exception", "OSError", "exit", "killed"])
def test_a_partial_chunked_response_has_no_last_chunk(failing: Service, how: str) -> None:
    received = b""
    with suppress(ConnectionResetError):
        received = download(failing, f"/fails/{how}", b"1.1")
    assert b"0\r\n\r\n" not in received


def test_a_complete_http_1_0_response_ends_without_a_reset(failing: Service) -> None:
    assert download(failing, "/fails/not", b"1.0").endswith(b"\r\n\r\nhalf of it, and the rest")
    assert download(failing, "/fails/not-length", b"1.0").endswith(b"\r\n\r\nhalf of it, and the rest")


def test_a_connection_is_reused_after_a_chunked_response(failing: Service) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", failing.port, timeout=CLIENT_TIMEOUT)) as connection:
        for _ in range(2):
            connection.request("GET", "/fails/not")
            assert connection.getresponse().read() == b"half of it, and the rest"


def test_an_exit_before_the_response_is_500(failing: Service) -> None:
    assert download(failing, "/fails/before", b"1.1").startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


# Requests that cannot be parsed

SECRET_VALUE = b"s3cr3t-t0ken"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /\x01" + SECRET_VALUE + b" HTTP/1.1\r\n\r\n", 400, id="request-line"),
        pytest.param(b"G@T" + SECRET_VALUE + b" / HTTP/1.1\r\n\r\n", 400, id="method"),
        pytest.param(b"GET / HTTP/" + SECRET_VALUE + b"\r\n\r\n", 400, id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nBearer " + SECRET_VALUE + b"\r\n\r\n", 400, id="header"),
        pytest.param(b"GET / HTTP/1.1\r\nBearer " + SECRET_VALUE + b": x\r\n\r\n", 400, id="header-name"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r\n " + SECRET_VALUE + b"\r\n\r\n", 400, id="folding"),
        pytest.param(b"GET / HTTP/1.1\r\nExpect: " + SECRET_VALUE + b"\r\n\r\n", 417, id="expectation"),
        pytest.param(b"GET / HTTP/1.1\r\nTransfer-Encoding: " + SECRET_VALUE + b"\r\n\r\n", 501, id="coding"),
        pytest.param(b"GET /" + SECRET_VALUE * 1000 + b" HTTP/1.1\r\n\r\n", 414, id="long-line"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + SECRET_VALUE * 2000 + b"\r\n\r\n", 431, id="long-header"),
        pytest.param(
            b"OPTIONS / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET_VALUE + b"\r\n", 400, id="chunk"
        ),
    ],
)
def test_an_unparsable_request_is_quoted_neither_in_the_page_nor_in_the_log(
    failing: Service, request_: bytes, status: int
) -> None:
    with closing(socket.create_connection(("127.0.0.1", failing.port), CLIENT_TIMEOUT)) as connection:
        connection.sendall(request_)
        received = b""
        with suppress(ConnectionResetError):  # part of the request was not received
            while data := connection.recv(4096):
                received += data
    assert b"HTTP/1.1 %d " % status in received
    assert b"s3cr3t" not in received
    log = failing.log.read_bytes()
    assert b"Invalid request from ip=127.0.0.1: " in log
    assert b"s3cr3t" not in log


# An application whose requests hold all slots

BLOCKING = """
from pathlib import Path
import gevent
from wsgi import app

FOLDER = Path(__file__).parent


@app.get("/waits/<number>")
def waits(number):
    (FOLDER / f"began-{number}").touch()
    while not (FOLDER / "released").exists():
        gevent.sleep(0.02)
    return ""
"""


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"POST /backchannel-logout HTTP/1.0\r\n", id="http/1.0"),
        pytest.param(b"POST /backchannel-logout HTTP/1.1\r\nConnection: close\r\n", id="connection-close"),
    ],
)
def test_a_client_that_is_still_sending_a_refused_body_receives_the_response_before_the_close(
    failing: Service, head: bytes
) -> None:
    piece = b"x" * 100_000
    with socket.create_connection(("127.0.0.1", failing.port), timeout=CLIENT_TIMEOUT) as client:
        client.sendall(head + b"Content-Length: 200000\r\nContent-Type: text/plain\r\n\r\n" + piece)
        select.select([client], [], [], CLIENT_TIMEOUT)  # it has responded without waiting for the rest
        client.sendall(piece)
        assert client.recv(65_536)[8:13] == b" 413 "
        assert client.recv(65_536) == b""


def test_the_liveness_probe_responds_with_and_without_a_path_prefix_while_all_slots_are_taken(tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    python_path = os.pathsep.join((str(ROOT), str(tmp_path)))
    settings = {"app": "blocking:app", "PYTHONPATH": python_path, "URL_PREFIX": "/tasks-api"}
    with (
        run_service(f"sqlite:///{tmp_path}/x.db", workers=1, **settings) as running,
        ThreadPoolExecutor(POOL_SIZE) as pool,
    ):
        try:
            for number in range(POOL_SIZE):
                pool.submit(download, running, f"/tasks-api/waits/{number}", b"1.0")
            until(lambda: len(list(tmp_path.glob("began-*"))) == POOL_SIZE)
            for path in ("/healthz", "/tasks-api/healthz"):
                assert download(running, path, b"1.0").endswith(b'{"status":"ok"}')
        finally:
            (tmp_path / "released").touch()
