"""A key server on 127.0.0.1 that can fail in the ways of a real one."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SLOW = 60.0
HUGE = 50 * 1024 * 1024

FAILING = ("reset", "error", "forbidden", "html", "empty", "garbage", "truncated", "redirect", "huge", "bomb")
"""Modes in which it fails at once; `stop()` is another failure."""

SLOW_MODES = ("slow", "drip", "drip_headers")
"""Modes in which its response takes longer than a client should wait."""


@cache
def _bomb() -> bytes:
    """Return a small gzip body that decompresses to a huge one."""
    return gzip.compress(b" " * HUGE, 1)


class KeyServer:
    """Serves `keys` as a JWK Set while `mode` is "ok"; other modes are names of methods of `_Handler`."""

    def __init__(self, *keys: dict[str, Any], certificate: Path | None = None) -> None:
        self.keys = list(keys)
        self.certificate = certificate
        self.mode = "ok"
        self.delay = 0.0
        self.fetches: list[str] = []
        self.agents: list[str | None] = []
        self.sent = 0
        self._address = ("127.0.0.1", 0)
        self.start()

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return "{}://{}:{}/api/auth/jwks".format(scheme, *self._address)

    def start(self) -> None:
        self.over = threading.Event()
        self._server = _Server(self._address, _Handler)
        self._server.owner = self
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._address = ("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.over.set()  # ends slow responses in progress
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them, and no socket is left open
    owner: KeyServer

    def handle_error(self, *_: Any) -> None:
        """Log nothing: in most modes clients close the connection early."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.owner = self.server.owner
        self.owner.fetches.append(self.path)
        self.owner.agents.append(self.headers["User-Agent"])
        if self.path == "/elsewhere":
            self.ok()
        else:
            getattr(self, self.owner.mode)()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        return json.dumps({"keys": self.owner.keys}).encode()

    def ok(self) -> None:
        self.owner.over.wait(self.owner.delay)
        self._answer(200, self._body())

    def reset(self) -> None:
        self.connection.close()

    def error(self) -> None:
        self._answer(500, self._body())

    def forbidden(self) -> None:
        self._answer(403, b"<!doctype html><title>Forbidden</title>", "text/html")

    def html(self) -> None:
        self._answer(200, b"<!doctype html><title>Just a moment</title>", "text/html")

    def empty(self) -> None:
        self._answer(200, b'{"keys": []}')

    def garbage(self) -> None:
        self._answer(200, b"\x00\xff\xfe{{{")

    def truncated(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self._body())))
        self.end_headers()
        self.wfile.write(self._body()[:-10])

    def redirect(self) -> None:
        self._answer(302, self._body(), Location="/elsewhere")

    def slow(self) -> None:
        self.owner.over.wait(SLOW)
        self.ok()

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.owner.over.wait(0.05):
            self.wfile.write(b" ")

    def drip_headers(self) -> None:
        self.send_response(200)
        self.flush_headers()
        while not self.owner.over.wait(0.05):
            self.wfile.write(b"x")

    def huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(HUGE))
        self.end_headers()
        while self.owner.sent < HUGE:
            self.owner.sent += self.wfile.write(b" " * 65536)

    def bomb(self) -> None:
        self._answer(200, _bomb(), Content_Encoding="gzip")
