"""Clients that send slowly, without an end or nothing, or do not read: they delay no other client and are closed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskapi.server.deadline_socket import REQUEST_TIMEOUT, DeadlineSocket
from tests.chaos.floods import serve_beside_chunk_floods, serve_beside_slow_heads
from tests.chaos.other_clients import assert_other_clients_served
from tests.chaos.service import CLIENT_TIMEOUT, Service, run_service
from tests.chaos.slow_clients import (
    serve_beside_endless_bodies,
    serve_beside_lingering_clients,
    serve_beside_slow_clients,
)
from tests.chaos.unread_responses import serve_beside_unread_responses
from tests.gunicorn_server import ROOT

SHORT_REQUEST_TIMEOUT = f"""
exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
import taskapi.server.deadline_socket  # after gevent has patched the standard library

taskapi.server.deadline_socket.REQUEST_TIMEOUT = 8
"""


def test_slow_clients_are_closed_and_other_clients_are_served(
    sqlite_url: str, tmp_path: Path, figures: Callable[..., None]
):
    settings = tmp_path / "short_timeout.conf.py"
    settings.write_text(SHORT_REQUEST_TIMEOUT)
    with run_service(sqlite_url, workers=2, settings=str(settings)) as running:
        figures(**serve_beside_slow_clients(running, heads=60, bodies=40, silent=40, within=8))


def test_past_the_request_deadline_only_bytes_that_already_arrived_are_read(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = DeadlineSocket(ours, 75)
        theirs.sendall(b"abc")
        late = time.monotonic() + REQUEST_TIMEOUT + 1
        monkeypatch.setattr(time, "monotonic", lambda: late)
        assert client.recv(10) == b"abc"
        assert client.recv(10) == b""
        theirs.sendall(b"d")
        assert client.recv(10) == b"", "bytes that arrive after the end would be the rest of a request"


def test_a_connection_that_is_idle_for_longer_than_keepalive_is_closed(sqlite_url: str, tmp_path: Path):
    settings = tmp_path / "short_keepalive.conf.py"
    settings.write_text(f"{SHORT_REQUEST_TIMEOUT}\nkeepalive = 3\n")
    with (
        run_service(sqlite_url, workers=1, settings=str(settings)) as running,
        socket.create_connection(("127.0.0.1", running.port), CLIENT_TIMEOUT) as connection,
    ):
        for _ in range(4):  # in all for longer than `keepalive`, but never idle for that long
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
        assert connection.recv(4096) == b"", "the server closes it; otherwise this times out"


def test_clients_that_keep_closed_connections_open_delay_no_other_client(
    one_worker: Service, figures: Callable[..., None]
):
    figures(**serve_beside_lingering_clients(one_worker, count=20))


def test_clients_that_send_bodies_without_an_end_are_closed_and_other_clients_are_served(
    one_worker: Service, figures: Callable[..., None]
):
    figures(**serve_beside_endless_bodies(one_worker, count=3, seconds=2))


@pytest.mark.parametrize("chunk", ["byte", "extension"])
def test_bodies_in_chunks_of_one_byte_are_cut_off_and_other_clients_are_served(
    one_worker: Service, figures: Callable[..., None], chunk: str
):
    measured = serve_beside_chunk_floods(one_worker, seconds=1.5, quiet=0.5, chunk=chunk)
    assert_other_clients_served(measured)
    figures(**measured)


def test_request_heads_sent_slowly_are_cut_off_and_other_clients_are_served(
    one_worker: Service, figures: Callable[..., None]
):
    measured = serve_beside_slow_heads(one_worker, seconds=5, quiet=0.5, connections=20)
    assert_other_clients_served(measured)
    assert measured["drips_cut_off"] > 0, measured
    figures(**measured)


def test_large_responses_that_are_not_read_use_little_memory_and_other_clients_are_served(
    one_worker: Service, figures: Callable[..., None]
):
    measured = serve_beside_unread_responses(one_worker, connections=20, seconds=3, quiet=0.5, tasks=200)
    assert_other_clients_served(measured)
    figures(**measured)
