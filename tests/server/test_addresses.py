"""The addresses that gunicorn listens on, and those of IPv4 clients of an IPv6 socket."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskapi.server import addresses
from tests.conftest import SECRET
from tests.gunicorn_server import CLIENT_TIMEOUT, ROOT, stopping, wait_until_up
from tests.ports import reserved_port
from tests.waiting import until

HAS_IPV6 = socket.has_dualstack_ipv6()


class Socket(socket.socket):
    """A socket on a machine without IPv6, or whose IPv6 sockets serve IPv6 only."""

    error = 0
    serves_ipv6_only = 0

    def __init__(self, *arguments: Any) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        super().__init__(socket.AF_INET)

    def bind(self, address: Any) -> None:
        assert address == ("::", 0)

    def getsockopt(self, *option: Any) -> Any:
        assert option == (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return self.serves_ipv6_only


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ["[::]:8000"]),
        ({"serves_ipv6_only": 1}, ["0.0.0.0:8000", "[::]:8000"]),
        ({"error": errno.EAFNOSUPPORT}, ["0.0.0.0:8000"]),
        ({"error": errno.EADDRNOTAVAIL}, ["0.0.0.0:8000"]),
    ],
    ids=["dual-stack", "two-sockets", "without-ipv6", "ipv6-disabled"],
)
def test_ipv4_is_always_served_and_ipv6_where_the_machine_has_it(
    attributes: dict[str, int], expected: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(addresses.socket, "socket", type("Patched", (Socket,), attributes))
    assert addresses.listen_addresses(8000) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("::1", "::1"),
        ("::ffff:0:102:304", "::ffff:0:102:304"),
        ("", ""),
        ("-", "-"),
    ],
)
def test_a_mapped_address_becomes_its_ipv4_address_and_others_stay(address: str, expected: str):
    assert addresses.unmapped(address) == expected


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("::ffff:203.0.113.9", 4711, 0, 0), ("203.0.113.9", 4711)),
        (("2001:db8::1", 4711, 0, 0), ("2001:db8::1", 4711, 0, 0)),
        (("203.0.113.9", 4711), ("203.0.113.9", 4711)),
        ("", ""),
        (b"", b""),
    ],
    ids=["mapped", "IPv6", "IPv4", "Unix", "Unix without a name"],
)
def test_the_peer_of_a_mapped_connection_is_an_ipv4_peer(peer: object, expected: object):
    assert addresses.unmapped_peer(peer) == expected


ECHO = """
from flask import request
from wsgi import app


@app.get("/from/<host>")
def peer(host):
    return request.remote_addr
"""


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=[[], ["-k", "gthread"]], ids=["our-worker", "gthread"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a gunicorn that listens on the default addresses; its output is in the file `log`."""
    (tmp_path / "echo.py").write_text(ECHO)
    with reserved_port() as port, (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *request.param, "echo:app"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT}:{tmp_path}",
                "PORT": str(port),
                "BETTER_AUTH_SECRET": SECRET,
                "DATABASE_URL": f"sqlite:///{tmp_path}/x.db",
                "WEB_CONCURRENCY": "1",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with stopping(process):
            until(lambda: accepts(port) or process.poll() is not None, otherwise="gunicorn did not start")
            wait_until_up(process, port, tmp_path / "log")
            yield port


def get(host: str, port: int) -> str:
    """Return the address that the application sees."""
    with closing(http.client.HTTPConnection(host, port, timeout=CLIENT_TIMEOUT)) as connection:
        connection.request("GET", f"/from/{host.replace(':', '-')}")
        return connection.getresponse().read().decode()


def test_gunicorn_serves_ipv4_and_ipv6_and_logs_ipv4_addresses_as_such(
    port: int, tmp_path: Path, request: pytest.FixtureRequest
):
    hosts = ["127.0.0.1", *(["::1"] if HAS_IPV6 else [])]
    seen = [get(host, port) for host in hosts]
    log = tmp_path / "log"
    lines = [f'\n{host} "GET /from/{host.replace(":", "-")}" 200' for host in hosts]
    until(lambda: all(line in log.read_text() for line in lines), otherwise="the addresses are not in the log")
    assert "::ffff:" not in log.read_text()
    if "our-worker" in request.node.name:
        assert seen == hosts
