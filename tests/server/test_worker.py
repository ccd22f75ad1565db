"""The worker: a request has a deadline, no client is served alone, and an incomplete response does not look complete."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import gevent
import pytest

from taskapi.server.worker import REQUEST_TIMEOUT, DeadlineSocket
from tests.chaos.service import Service, run_service
from tests.conftest import migrate
from tests.gunicorn_server import ROOT


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/x.db"
    migrate(url)
    return url


Pair = tuple[DeadlineSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection as the worker has it, and the client's end of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield DeadlineSocket(ours, 75), theirs


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The calls that let other greenlets run."""
    made: list[float] = []
    monkeypatch.setattr(gevent, "sleep", made.append)
    return made


# Deadlines


def test_data_that_keeps_arriving_is_received_until_the_deadline_and_not_after(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, theirs = pair
    theirs.sendall(b"x" * 100)
    assert client.recv(10) == b"x" * 10
    late = time.monotonic() + REQUEST_TIMEOUT + 1
    monkeypatch.setattr(time, "monotonic", lambda: late)
    received = b""
    while data := client.recv(40):
        received += data
        theirs.sendall(b"y" * 40)
        assert len(received) < 1000, "a client that goes on sending has no deadline"
    assert received == b"x" * 90


def test_a_deadline_is_of_one_request_and_an_idle_connection_has_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, theirs = pair
    for number in range(3):
        moment = time.monotonic() + number * (REQUEST_TIMEOUT + 1)
        monkeypatch.setattr(time, "monotonic", lambda moment=moment: moment)
        theirs.sendall(b"request")
        assert client.recv(100) == b"request"
        client.answered()
        assert client.idle


# Fairness


def test_a_client_that_sends_faster_than_it_is_read_lets_the_others_run_between(
    pair: Pair, switches: list[float]
) -> None:
    client, theirs = pair
    theirs.sendall(b"x" * 100)
    for _ in range(100):
        assert client.recv(1) == b"x"
    assert len(switches) == 99


def test_requests_that_arrive_together_let_the_others_run_between(pair: Pair, switches: list[float]) -> None:
    client, theirs = pair
    theirs.sendall(b"three requests")
    client.recv(100)
    switches.clear()
    for _ in range(3):
        client.asked()
        client.answered()
    assert len(switches) == 2


def test_a_response_in_pieces_lets_the_others_run_between(pair: Pair, switches: list[float]) -> None:
    client, theirs = pair
    for _ in range(2):
        for _ in range(4):
            client.sendall(b"piece")
        client.answered()
    assert len(switches) == 2 * 3
    assert len(theirs.recv(100)) == 2 * 4 * len(b"piece")


# A worker that is full


def test_an_idle_connection_is_closed_unless_its_next_request_has_arrived(pair: Pair) -> None:
    client, theirs = pair
    client.answered()
    theirs.sendall(b"next")
    assert not client.close_idle()
    assert client.recv(100) == b"next"
    client.answered()
    assert client.close_idle()
    assert not client.idle
    assert client.recv(100) == b""


FULL = f"""
exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
worker_connections = 12
"""
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ask(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    with suppress(TimeoutError):
        return connection.recv(1) == b""
    return False


def test_a_full_worker_closes_the_connections_that_are_idle_for_longest(sqlite_url: str, tmp_path: Path) -> None:
    settings = tmp_path / "full.conf.py"
    settings.write_text(FULL)
    with run_service(sqlite_url, workers=1, settings=str(settings)) as running, ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 20))

        first = [connect() for _ in range(11)]
        for connection in first:
            ask(connection)
        ask(first[0])  # it is the one that was last idle
        second = [connect() for _ in range(5)]
        for connection in second:
            ask(connection)
        time.sleep(0.2)
        open_ = [not is_closed(connection) for connection in first]
        assert (open_[0], open_[1:6]) == (True, [False] * 5)
        assert sum(open_) + len(second) in (11, 12)
        assert not any(is_closed(connection) for connection in second)


def test_a_full_worker_of_clients_that_are_not_idle_closes_each_as_soon_as_it_is(
    sqlite_url: str, tmp_path: Path
) -> None:
    settings = tmp_path / "full.conf.py"
    settings.write_text(FULL)
    with run_service(sqlite_url, workers=1, settings=str(settings)) as running, ExitStack() as stack:
        first = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 20)) for _ in range(12)]
        for connection in first:
            connection.sendall(REQUEST[:-2])
        time.sleep(0.5)
        new = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 20))
        new.sendall(REQUEST)
        assert is_closed(new) is False
        for connection in first:
            connection.sendall(REQUEST[-2:])
        new.settimeout(20)
        assert new.recv(4096).startswith(b"HTTP/1.1 200")


# A response that fails half-way

FAILING = """
import os, signal
from flask import Response
from wsgi import app


@app.get("/fails/<how>")
def fails(how):
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
    with run_service(url, workers=1, app="failing:app", PYTHONPATH=os.pathsep.join((str(ROOT), str(folder)))) as running:
        yield running


def download(running: Service, path: str, version: bytes, headers: bytes = b"") -> bytes:
    """All that is received up to the orderly end of the connection."""
    with closing(socket.create_connection(("127.0.0.1", running.port), 20)) as connection:
        connection.sendall(b"GET %s HTTP/%s\r\nHost: x\r\n%s\r\n" % (path.encode(), version, headers))
        received = b""
        while data := connection.recv(4096):
            received += data
        return received


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"], ids=["close", "keep-alive"])
@pytest.mark.parametrize("how", ["exception", "OSError", "exit", "killed"])
def test_half_a_response_of_http_1_0_ends_in_a_reset(failing: Service, how: str, headers: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        download(failing, f"/fails/{how}", b"1.0", headers)


@pytest.mark.parametrize("how", ["exception", "OSError", "exit", "killed"])
def test_half_a_response_in_chunks_has_no_last_chunk(failing: Service, how: str) -> None:
    received = b""
    with suppress(ConnectionResetError):
        received = download(failing, f"/fails/{how}", b"1.1")
    assert b"0\r\n\r\n" not in received


def test_a_complete_response_of_http_1_0_ends_in_order(failing: Service) -> None:
    assert download(failing, "/fails/not", b"1.0").endswith(b"\r\n\r\nhalf of it, and the rest")
    assert download(failing, "/fails/not-length", b"1.0").endswith(b"\r\n\r\nhalf of it, and the rest")


def test_a_connection_is_reused_after_a_response_in_chunks(failing: Service) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", failing.port, timeout=20)) as connection:
        for _ in range(2):
            connection.request("GET", "/fails/not")
            assert connection.getresponse().read() == b"half of it, and the rest"
