"""DeadlineSocket: a request has a deadline, and a busy client lets the other greenlets run."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from taskapi.server.deadline_socket import REQUEST_TIMEOUT, DeadlineSocket
from tests.server.connections import Connection

Pair = tuple[DeadlineSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a connection: the worker's DeadlineSocket and the client's socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(60)
        yield DeadlineSocket(ours, 75), theirs


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Arguments of the calls of gevent.sleep, which lets other greenlets run."""
    calls: list[float] = []
    monkeypatch.setattr(gevent, "sleep", calls.append)
    return calls


# Deadlines


def test_data_is_received_until_the_deadline_and_not_after(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, client = pair
    client.sendall(b"x" * 100)
    assert connection.recv(10) == b"x" * 10
    late = time.monotonic() + REQUEST_TIMEOUT + 1
    monkeypatch.setattr(time, "monotonic", lambda: late)
    received = b""
    while data := connection.recv(40):
        received += data
        client.sendall(b"y" * 40)
        assert len(received) < 1000, "a client that keeps sending has no deadline"
    assert received == b"x" * 90


def test_each_request_has_its_own_deadline_and_an_idle_connection_has_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, client = pair
    for number in range(3):
        seconds = time.monotonic() + number * (REQUEST_TIMEOUT + 1)
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: seconds)
        client.sendall(b"request")
        assert connection.recv(100) == b"request"
        connection.request_finished()
        assert connection.idle


# Fairness


def test_a_client_that_sends_faster_than_it_is_parsed_lets_others_run(pair: Pair, switches: list[float]) -> None:
    connection, client = pair
    client.sendall(b"x" * 100)
    for _ in range(100):
        assert connection.recv(1) == b"x"
    assert len(switches) == 99


def test_pipelined_requests_let_others_run_between_them(pair: Pair, switches: list[float]) -> None:
    connection, client = pair
    client.sendall(b"three requests")
    connection.recv(100)
    switches.clear()
    for _ in range(3):
        connection.request_started()
        connection.request_finished()
    assert len(switches) == 2


def test_a_response_in_pieces_lets_others_run_between_them(pair: Pair, switches: list[float]) -> None:
    connection, client = pair
    for _ in range(2):
        for _ in range(4):
            connection.sendall(b"piece")
        connection.request_finished()
    assert len(switches) == 2 * 3
    assert len(client.recv(100)) == 2 * 4 * len(b"piece")


def test_data_that_the_kernel_does_not_accept_at_once_is_sent_in_pieces() -> None:
    class SmallBuffer(Connection):
        def send(self, data: bytes) -> int:
            return super().send(data[:3])

        def sendall(self, data: bytes) -> None:
            while data:
                data = data[self.send(data) :]

    connection = SmallBuffer()
    DeadlineSocket(connection, 1).sendall(b"abcdefgh")
    assert connection.sent == [b"abc", b"def", b"gh"]


# Closing


def test_an_idle_connection_is_closed_unless_its_next_request_has_arrived(pair: Pair) -> None:
    connection, client = pair
    connection.request_finished()
    client.sendall(b"next")
    assert not connection.close_idle()
    assert connection.recv(100) == b"next"
    connection.request_finished()
    assert connection.close_idle()
    assert not connection.idle
    assert connection.recv(100) == b""


def test_a_connection_that_is_closed_while_it_waits_for_a_request_has_ended_without_an_error() -> None:
    ours, theirs = gevent.socket.socketpair()
    with ours, theirs:
        connection = DeadlineSocket(ours, 75)
        waiting = gevent.spawn(connection.recv, 100)
        gevent.sleep(0)
        connection.shutdown_reads()
        assert waiting.get(timeout=60) == b""
