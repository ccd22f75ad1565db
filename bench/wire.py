"""Counts what goes over the wire to PostgreSQL: a relay that reads the client's side of its protocol."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import make_url

_UNTYPED = (80877103, 80877104)
"""SSLRequest and GSSENCRequest: the start-up message follows them (PostgreSQL, "Message Formats")."""


@dataclass
class Wire:
    """What has gone over so far, on all connections."""

    url: str
    """The database, by way of the relay."""
    statements: int = 0
    """Execute and Query messages."""
    round_trips: int = 0
    """How often something was sent after something had been received: each waits for the server once."""


@contextmanager
def relay(url: str) -> Iterator[Wire]:
    """Relay to the database of this URL."""
    target = make_url(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(target.set(port=listener.getsockname()[1]).render_as_string(hide_password=False))
        threading.Thread(target=_accept, args=(listener, (target.host, target.port), wire), daemon=True).start()
        yield wire


def _accept(listener: socket.socket, target: tuple[str | None, int | None], wire: Wire) -> None:
    with suppress(OSError):  # closed: the run is over
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((target[0] or "", target[1] or 0))
            threading.Thread(target=_relay, args=(client, server, wire), daemon=True).start()


def _relay(client: socket.socket, server: socket.socket, wire: Wire) -> None:
    pending, started, asked = b"", False, False
    with client, server, suppress(OSError):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is server:
                    asked = False
                    client.sendall(data)
                    continue
                pending += data
                started, pending, statements = _count(started, pending)
                wire.statements += statements
                wire.round_trips += not asked
                asked = True
                server.sendall(data)


def _count(started: bool, pending: bytes) -> tuple[bool, bytes, int]:  # noqa: FBT001
    """Take the whole messages off what was sent, and count those that execute something."""
    statements = 0
    while True:
        head = 1 if started else 0
        if len(pending) < head + 8 - 4 * head:
            return started, pending, statements
        (length,) = struct.unpack_from("!I", pending, head)
        if len(pending) < head + length:
            return started, pending, statements
        if started:
            statements += pending[:1] in (b"E", b"Q")
        else:
            started = struct.unpack_from("!I", pending, 4)[0] not in _UNTYPED
        pending = pending[head + length :]
