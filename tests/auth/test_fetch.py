"""A download ends within its timeout, wherever the server hangs, with threads and with greenlets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from taskapi.auth.fetch import DownloadError, download, tls_context
from taskapi.config.proxies import Proxy
from taskapi.config.settings import VERSION
from tests.auth.forward_proxy import forward_proxy
from tests.auth.key_server import KeyServer
from tests.auth.test_jwks_cache import make_certificate
from tests.gunicorn_server import ROOT
from tests.waiting import WAIT_LIMIT

TIMEOUT = 0.3
TLS_RECORD = b"\x16\x03\x03\x40\x00"
"""The header of a handshake record of 16,384 bytes."""


class StuckServer:
    """Accepts a TCP connection and sends `first`; then, if it `drips`, a byte every 50 ms, otherwise nothing more."""

    def __init__(self, first: bytes, *, drips: bool) -> None:
        self._first, self._drips = first, drips
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError), self._listener.accept()[0] as connection:
            connection.sendall(self._first)
            ends = time.monotonic() + WAIT_LIMIT
            while not self._stopped.wait(0.05) and time.monotonic() < ends:
                if self._drips:
                    connection.sendall(b"x")

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError):  # already connected
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose accept queue is full: the kernel does not respond to further connection attempts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(8):
            connection = stack.enter_context(closing(socket.socket()))
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        yield port


STUCK: dict[str, tuple[str, bytes, bool]] = {
    "silent": ("http", b"", False),
    "drips the status line": ("http", b"HTTP/1.1 200 ", True),
    "drips a header": ("http", b"HTTP/1.1 200 OK\r\nX-Slow: ", True),
    "drips the body": ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", True),
    "drips a chunk": ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", True),
    "drips without a length": ("http", b"HTTP/1.1 200 OK\r\n\r\n", True),
    "silent in the TLS handshake": ("https", b"", False),
    "drips the TLS handshake": ("https", TLS_RECORD, True),
}


def failure_time(url: str) -> float:
    """Return the seconds after which a download fails."""
    context = tls_context() if url.startswith("https") else None
    began = time.monotonic()
    with pytest.raises((OSError, HTTPException)):
        download(url, context, TIMEOUT)
    return time.monotonic() - began


WITH_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import json, os, sys, gevent.pool
import _socket  # gevent calls it in a native thread
from tests.auth.test_fetch import failure_time

getaddrinfo, native_sleep = _socket.getaddrinfo, monkey.get_original("time", "sleep")
_socket.getaddrinfo = lambda host, *rest: native_sleep(60) if host == "hanging.example" else getaddrinfo(host, *rest)
print(json.dumps([*gevent.pool.Group().map(failure_time, sys.argv[1:])]), flush=True)
os._exit(0)  # a native thread still sleeps
"""


@pytest.fixture
def stuck_urls(full_port: int) -> Iterator[list[str]]:
    """URLs of servers that hang, each at another point."""
    with ExitStack() as stack:
        urls = [f"http://127.0.0.1:{full_port}/jwks"]
        for scheme, first, drips in STUCK.values():
            server = StuckServer(first, drips=drips)
            stack.callback(server.stop)
            urls.append(f"{scheme}://127.0.0.1:{server.port}/jwks")
        yield urls


@pytest.mark.parametrize("number", range(1 + len(STUCK)), ids=["does not accept a connection", *STUCK])
def test_a_download_from_a_server_that_hangs_fails_within_the_timeout(stuck_urls: list[str], number: int) -> None:
    assert failure_time(stuck_urls[number]) < TIMEOUT + WAIT_LIMIT / 2


def test_with_gevent_downloads_from_servers_and_dns_that_hang_fail_within_the_timeout(stuck_urls: list[str]) -> None:
    urls = [*stuck_urls, "http://hanging.example/jwks"]
    command = [sys.executable, "-c", WITH_GREENLETS, *urls]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=3 * WAIT_LIMIT)
    took = json.loads(done.stdout)
    assert len(took) == len(urls)
    # If a download blocked the process, those started after it would have waited for it.
    assert max(took) < TIMEOUT + WAIT_LIMIT / 2


def test_a_download_fails_within_the_timeout_if_dns_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    may_respond = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: may_respond.wait() and [])
    try:
        assert failure_time("http://keys.example/jwks") < TIMEOUT + WAIT_LIMIT / 2
    finally:
        may_respond.set()


def addresses(*ports: int) -> Callable[..., Any]:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]


def test_an_address_that_does_not_respond_leaves_time_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch, full_port: int, serve_keys: Callable[..., KeyServer]
) -> None:
    server = serve_keys()
    monkeypatch.setattr(socket, "getaddrinfo", addresses(full_port, server._address[1]))
    assert download("http://keys.example/api/auth/jwks", None, 4) == b'{"keys": []}'


def test_a_download_from_many_addresses_that_do_not_respond_fails_within_the_timeout(
    monkeypatch: pytest.MonkeyPatch, full_port: int
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", addresses(*[full_port] * 50))
    assert failure_time("http://keys.example/jwks") < TIMEOUT + WAIT_LIMIT / 2


# The request


def test_the_request_has_a_user_agent_and_the_query_of_the_url(serve_keys: Callable[..., KeyServer]) -> None:
    server = serve_keys()
    assert download(f"{server.url}?tenant=a%20b&x", None, WAIT_LIMIT) == b'{"keys": []}'
    assert server.fetches == ["/api/auth/jwks?tenant=a%20b&x"]
    assert server.agents == [f"taskapi/{VERSION}"]


# Proxies

CREDENTIALS = "Basic dXNlcjpodW50ZXIy"


@pytest.fixture(params=["http", "https"])
def any_server(
    request: pytest.FixtureRequest,
    serve_keys: Callable[..., KeyServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> KeyServer:
    """A key server of each scheme, whose certificate is trusted."""
    if request.param == "http":
        return serve_keys()
    certificate = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return serve_keys(certificate=certificate)


def context_of(server: KeyServer) -> Any:
    return tls_context() if server.certificate else None


@pytest.mark.parametrize("authorization", [None, CREDENTIALS], ids=["without credentials", "with credentials"])
def test_a_download_goes_through_the_proxy(any_server: KeyServer, authorization: str | None) -> None:
    with forward_proxy(authorization) as proxy:
        through = Proxy("127.0.0.1", proxy.server_port, authorization)
        body = download(f"{any_server.url}?x=1", context_of(any_server), WAIT_LIMIT, through)
    assert body == b'{"keys": []}'
    assert any_server.fetches == ["/api/auth/jwks?x=1"]
    host = "{}:{}".format(*any_server._address)
    ((request, headers),) = proxy.requests
    assert request == (f"CONNECT {host}" if any_server.certificate else f"GET {any_server.url}?x=1")
    assert (headers["Host"], headers["User-Agent"]) == (host, f"taskapi/{VERSION}")
    assert headers.get("Proxy-Authorization") == authorization


def test_a_proxy_that_refuses_is_an_error_with_its_status(any_server: KeyServer) -> None:
    with forward_proxy(CREDENTIALS) as proxy, pytest.raises(DownloadError, match=r"status 407$"):
        download(any_server.url, context_of(any_server), WAIT_LIMIT, Proxy("127.0.0.1", proxy.server_port))
    assert not any_server.fetches


STUCK_PROXIES: dict[str, tuple[bytes, bool]] = {
    "silent": (b"", False),
    "drips the status line": (b"HTTP/1.1 200 ", True),
    "silent after CONNECT": (b"HTTP/1.1 200 OK\r\n\r\n", False),
    "drips after CONNECT": (b"HTTP/1.1 200 OK\r\n\r\n" + TLS_RECORD, True),
}


@pytest.mark.parametrize(("first", "drips"), STUCK_PROXIES.values(), ids=STUCK_PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_timeout_includes_the_proxy(first: bytes, scheme: str, *, drips: bool) -> None:
    proxy = StuckServer(first, drips=drips)
    began = time.monotonic()
    context = tls_context() if scheme == "https" else None
    try:
        with pytest.raises((OSError, HTTPException)):
            download(f"{scheme}://keys.example/jwks", context, TIMEOUT, Proxy("127.0.0.1", proxy.port))
    finally:
        proxy.stop()
    assert time.monotonic() - began < TIMEOUT + WAIT_LIMIT / 2


def test_an_endless_response_to_connect_is_an_error() -> None:
    proxy = StuckServer(b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 2000, drips=False)
    try:
        with pytest.raises(DownloadError):
            download("https://keys.example/jwks", tls_context(), WAIT_LIMIT, Proxy("127.0.0.1", proxy.port))
    finally:
        proxy.stop()
