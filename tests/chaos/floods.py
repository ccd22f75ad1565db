"""Clients without a token that make a worker parse, buffer or wait: chunks of a byte, and heads that drip."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tests.chaos.neighbours import Attack, probe_neighbours
from tests.chaos.service import PATIENCE, service
from tests.conftest import token

CHUNKED = b"POST /api/flood/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n"
CHUNKS = {
    "byte": b"1\r\nx\r\n",
    "extension": b"1;a=" + b"b" * 1000 + b"\r\nx\r\n",
}
HEAD, LINE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"a:b\r\n"

Assert = Callable[[Mapping[str, Any]], None]


def serve_beside_chunk_floods(
    url: str, *, seconds: float, check: Assert, chunk: str, connections: int = 1, with_token: bool = False
) -> dict[str, Any]:
    """Bodies of chunks of a byte, as fast as they are received; the next one as soon as one is cut off."""
    first = CHUNKED + (JSON % token("flood").encode() if with_token else b"") + b"\r\n"
    with service(url, workers=1) as running:
        figures = probe_neighbours(running, seconds, _floods(running.port, first, CHUNKS[chunk] * 100, connections))
    figures["chunks"] = chunk
    assert figures["floods_cut_off"] > 0, figures
    check(figures)
    return figures


def _floods(port: int, first: bytes, piece: bytes, connections: int) -> Attack:
    def attack(over: threading.Event) -> dict[str, Any]:
        floods = [_Flood(port, first, piece, over) for _ in range(connections)]
        for flood in floods:
            flood.start()
        for flood in floods:
            flood.join()
        return {
            "floods_cut_off": sum(flood.cut_off for flood in floods),
            "flooded_mb": round(sum(flood.sent for flood in floods) / 1e6, 1),
        }

    return attack


class _Flood(threading.Thread):
    """Sends without an end until it is cut off, and begins again."""

    def __init__(self, port: int, first: bytes, piece: bytes, over: threading.Event) -> None:
        super().__init__()
        self._port, self._first, self._piece, self._over = port, first, piece, over
        self.sent = self.cut_off = 0

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), PATIENCE) as connection:
                connection.sendall(self._first)
                while not self._over.is_set():
                    connection.sendall(self._piece)
                    self.sent += len(self._piece)
            self.cut_off += not self._over.is_set()


def serve_beside_dripping_heads(
    url: str, *, seconds: float, check: Assert, connections: int = 100, rate: int = 20_000
) -> dict[str, Any]:
    """Heads that grow by `rate` bytes a second each, in 100 packets; the next one as soon as one is cut off."""
    with service(url, workers=1) as running:
        figures = probe_neighbours(running, seconds, _drips(running.port, connections, rate // 100))
    check(figures)
    return figures


def _drips(port: int, connections: int, size: int) -> Attack:
    def attack(over: threading.Event) -> dict[str, Any]:
        drips = [_Drip(port) for _ in range(connections)]
        while not over.wait(0.01):
            for drip in drips:
                drip.send(LINE * (size // len(LINE)))
        for drip in drips:
            drip.connection.close()
        return {"drips_cut_off": sum(drip.cut_off for drip in drips), "drips": connections}

    return attack


class _Drip:
    """A head that has begun."""

    def __init__(self, port: int) -> None:
        self._port, self.cut_off = port, 0
        self.connection = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        connection.sendall(HEAD)
        return connection

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError:
            self.connection.close()
            self.cut_off += 1
            self.connection = self._connect()
