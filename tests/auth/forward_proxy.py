"""A forward proxy on 127.0.0.1: CONNECT, and GET of an absolute URL."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class ForwardProxy(ThreadingHTTPServer):
    """Forwards requests that have its `authorization`, if that is set; `requests` are their first lines and headers."""

    def __init__(self, authorization: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authorization = authorization
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Log nothing: clients close connections early."""


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy

    def log_message(self, *_: Any) -> None:
        pass

    def _may_forward(self) -> bool:
        self.server.requests.append((f"{self.command} {self.path}", dict(self.headers)))
        if self.headers.get("Proxy-Authorization") == self.server.authorization:
            return True
        self.send_error(407)
        return False

    def do_CONNECT(self) -> None:
        if not self._may_forward():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port))) as other:
            self.send_response(200)
            self.end_headers()
            _copy(self.connection, other, self.server.over)

    def do_GET(self) -> None:
        if not self._may_forward():
            return
        target = urlsplit(self.path)
        connection = HTTPConnection(target.hostname or "", target.port)
        connection.request(
            "GET", self.path.partition(target.netloc)[2], headers={"User-Agent": self.headers["User-Agent"]}
        )
        response = connection.getresponse()
        body = response.read()
        self.send_response(response.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        connection.close()


def _copy(one: socket.socket, other: socket.socket, over: threading.Event) -> None:
    """Copy bytes between two sockets until one is closed."""
    while not over.is_set():
        for ready in select.select([one, other], [], [], 0.05)[0]:
            received = ready.recv(65_536)
            if not received:
                return
            (other if ready is one else one).sendall(received)


@contextmanager
def forward_proxy(authorization: str | None = None) -> Iterator[ForwardProxy]:
    """Run a proxy for the `with` block."""
    with ForwardProxy(authorization) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.over.set()
            with suppress(OSError):
                proxy.shutdown()
            thread.join()
