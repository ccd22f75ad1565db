"""Clients without a token that make a worker parse, buffer or wait: chunks of one byte, and request heads sent slowly."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from tests.chaos.other_clients import Attack, probe_other_clients
from tests.chaos.service import CLIENT_TIMEOUT, Service
from tests.conftest import token

CHUNKED = b"POST /api/flood/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n"
CHUNKS = {
    "byte": b"1\r\nx\r\n",
    "extension": b"1;a=" + b"b" * 1000 + b"\r\nx\r\n",
}
HEAD, LINE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"a:b\r\n"


def serve_beside_chunk_floods(
    running: Service,
    *,
    seconds: float,
    chunk: str,
    quiet: float = 3,
    connections: int = 1,
    with_token: bool = False,
) -> dict[str, Any]:
    """Send bodies of chunks of one byte as fast as they are received; reconnect whenever the server closes."""
    first = CHUNKED + (JSON % token("flood").encode() if with_token else b"") + b"\r\n"
    attack = _chunk_flood(running.port, first, CHUNKS[chunk] * 100, connections)
    figures = probe_other_clients(running, seconds, attack, quiet=quiet)
    figures["chunks"] = chunk
    assert figures["floods_cut_off"] > 0, figures
    return figures


def _chunk_flood(port: int, first: bytes, piece: bytes, connections: int) -> Attack:
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
    """Send the same bytes again and again until the server closes the connection; then reconnect."""

    def __init__(self, port: int, first: bytes, piece: bytes, over: threading.Event) -> None:
        super().__init__()
        self._port, self._first, self._piece, self._over = port, first, piece, over
        self.sent = self.cut_off = 0

    def run(self) -> None:
        """Flood until the attack is over."""
        while not self._over.is_set():
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), CLIENT_TIMEOUT) as connection,
            ):
                connection.sendall(self._first)
                while not self._over.is_set():
                    connection.sendall(self._piece)
                    self.sent += len(self._piece)
            self.cut_off += not self._over.is_set()


def serve_beside_slow_heads(
    running: Service, *, seconds: float, quiet: float = 3, connections: int = 100, rate: int = 20_000
) -> dict[str, Any]:
    """Send request heads that grow by `rate` bytes per second each, in 100 packets; reconnect when the server closes."""
    attack = _slow_heads(running.port, connections, rate // 100)
    return probe_other_clients(running, seconds, attack, quiet=quiet)


def _slow_heads(port: int, connections: int, packet_size: int) -> Attack:
    def attack(over: threading.Event) -> dict[str, Any]:
        heads = [_SlowHead(port) for _ in range(connections)]
        while not over.wait(0.01):
            for head in heads:
                head.send(LINE * (packet_size // len(LINE)))
        for head in heads:
            head.connection.close()
        return {"drips_cut_off": sum(head.cut_off for head in heads), "drips": connections}

    return attack


class _SlowHead:
    """A connection with an incomplete request head; it is opened again when the server closes it."""

    def __init__(self, port: int) -> None:
        self._port, self.cut_off = port, 0
        self.connection = self._connect()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), CLIENT_TIMEOUT)
        connection.sendall(HEAD)
        return connection

    def send(self, data: bytes) -> None:
        """Send more header lines."""
        try:
            self.connection.sendall(data)
        except OSError:
            self.connection.close()
            self.cut_off += 1
            self.connection = self._connect()
