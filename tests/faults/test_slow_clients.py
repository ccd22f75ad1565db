"""Clients that are slow, silent or gone take nothing from the others, and are closed before long."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskapi.server.deadline_socket import REQUEST_TIMEOUT, DeadlineSocket
from tests.chaos.floods import serve_beside_chunk_floods, serve_beside_dripping_heads
from tests.chaos.neighbours import assert_neighbours_answered
from tests.chaos.service import service
from tests.chaos.slow import serve_beside_floods, serve_beside_lingering_clients, serve_beside_slow_clients
from tests.chaos.unread import serve_beside_unread_responses
from tests.gunicorn_server import ROOT

IMPATIENT = f"""
exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
import taskapi.server.deadline_socket  # after that file has let gevent patch what waits

taskapi.server.deadline_socket.REQUEST_TIMEOUT = 8
"""


def test_slow_clients_are_closed_and_meanwhile_the_others_are_served(
    sqlite_url: str, tmp_path: Path, figures: Callable[..., None]
):
    settings = tmp_path / "impatient.conf.py"
    settings.write_text(IMPATIENT)
    figures(**serve_beside_slow_clients(sqlite_url, heads=60, bodies=40, silent=40, within=8, settings=str(settings)))


def test_what_came_while_it_stood_in_line_is_taken_and_for_no_more_is_waited(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = DeadlineSocket(ours, 75)
        theirs.sendall(b"abc")
        late = time.monotonic() + REQUEST_TIMEOUT + 1
        monkeypatch.setattr(time, "monotonic", lambda: late)
        assert client.recv(10) == b"abc"
        assert client.recv(10) == b""
        theirs.sendall(b"d")
        assert client.recv(10) == b"", "what comes now is the rest of it"


def test_a_connection_that_is_idle_for_too_long_is_closed(sqlite_url: str, tmp_path: Path):
    settings = tmp_path / "short.conf.py"
    settings.write_text(f"{IMPATIENT}\nkeepalive = 2\n")
    with (
        service(sqlite_url, workers=1, settings=str(settings)) as running,
        socket.create_connection(("127.0.0.1", running.port), 10) as connection,
    ):
        for _ in range(3):  # for longer than it may be idle
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
        began = time.monotonic()
        assert connection.recv(4096) == b""
        assert time.monotonic() - began < 8


def test_clients_that_do_not_hang_up_hold_nobody_up(sqlite_url: str, figures: Callable[..., None]):
    figures(**serve_beside_lingering_clients(sqlite_url, count=20))


def test_clients_that_send_without_end_are_cut_off_and_hold_nobody_up(sqlite_url: str, figures: Callable[..., None]):
    figures(**serve_beside_floods(sqlite_url, count=3, seconds=4))


@pytest.mark.parametrize("chunk", ["byte", "extension"])
def test_bodies_in_chunks_of_a_byte_are_cut_off_and_the_others_are_served(
    sqlite_url: str, figures: Callable[..., None], chunk: str
):
    figures(**serve_beside_chunk_floods(sqlite_url, seconds=3, check=assert_neighbours_answered, chunk=chunk))


def test_heads_that_drip_are_cut_off_and_the_others_are_served(sqlite_url: str, figures: Callable[..., None]):
    dripped = serve_beside_dripping_heads(sqlite_url, seconds=5, check=assert_neighbours_answered, connections=20)
    assert dripped["drips_cut_off"] > 0, dripped
    figures(**dripped)


def test_large_responses_that_are_not_read_take_little_memory_and_the_others_are_served(
    sqlite_url: str, figures: Callable[..., None]
):
    figures(**serve_beside_unread_responses(sqlite_url, connections=20, seconds=3, tasks=200, measure=False))
