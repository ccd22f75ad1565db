"""TCP relay to PostgreSQL that counts statements and round trips by parsing the client's protocol messages."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import make_url

_NEGOTIATION_CODES = (80877103, 80877104)
"""Codes of SSLRequest and GSSENCRequest, which precede the StartupMessage (PostgreSQL, "Message Formats")."""


@dataclass
class Traffic:
    """Counts of all connections so far."""

    url: str
    """URL of the database through the relay."""
    statements: int = 0
    """Number of Execute and Query messages."""
    round_trips: int = 0
    """Number of times that the client sent data after receiving data: each is one wait for the server."""


@contextmanager
def relay(url: str) -> Iterator[Traffic]:
    """Context manager: relay connections to the database of this URL, and count their traffic."""
    target = make_url(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        traffic = Traffic(target.set(port=listener.getsockname()[1]).render_as_string(hide_password=False))
        threading.Thread(target=_accept, args=(listener, (target.host, target.port), traffic), daemon=True).start()
        yield traffic


def _accept(listener: socket.socket, target: tuple[str | None, int | None], traffic: Traffic) -> None:
    """Accept connections until the listener is closed, and relay each in a thread."""
    with suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((target[0] or "", target[1] or 0))
            threading.Thread(target=_relay, args=(client, server, traffic), daemon=True).start()


def _relay(client: socket.socket, server: socket.socket, traffic: Traffic) -> None:
    """Copy data in both directions until one side closes, and count what the client sends."""
    pending, is_started, client_sent_last = b"", False, False
    with client, server, suppress(OSError):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is server:
                    client_sent_last = False
                    client.sendall(data)
                    continue
                pending += data
                is_started, pending, statements = _count(is_started, pending)
                traffic.statements += statements
                traffic.round_trips += not client_sent_last
                client_sent_last = True
                server.sendall(data)


def _count(is_started: bool, pending: bytes) -> tuple[bool, bytes, int]:  # noqa: FBT001
    """Remove the complete messages from `pending` and count the statements in them.

    `is_started` is True after the StartupMessage, the last message without a type byte. Returns the new
    `is_started`, the remaining bytes and the number of statements.
    """
    statements = 0
    while True:
        type_bytes = 1 if is_started else 0
        if len(pending) < type_bytes + 8 - 4 * type_bytes:
            return is_started, pending, statements
        (length,) = struct.unpack_from("!I", pending, type_bytes)
        if len(pending) < type_bytes + length:
            return is_started, pending, statements
        if is_started:
            statements += pending[:1] in (b"E", b"Q")
        else:
            is_started = struct.unpack_from("!I", pending, 4)[0] not in _NEGOTIATION_CODES
        pending = pending[type_bytes + length :]
