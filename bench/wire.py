"""TCP relay to PostgreSQL that counts statements and round trips by parsing the client's protocol messages."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.relay import pieces, relay_connections

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
    traffic = Traffic(url)
    with relay_connections(url, partial(_relay, traffic)) as traffic.url:
        yield traffic


def _relay(traffic: Traffic, client: socket.socket, server: socket.socket) -> None:
    """Relay a connection until one side closes, and count what the client sends."""
    pending, is_started, client_sent_last = b"", False, False
    for data, is_from_client in pieces(client, server):
        if is_from_client:
            is_started, pending, statements = _count(is_started, pending + data)
            traffic.statements += statements
            traffic.round_trips += not client_sent_last
        client_sent_last = is_from_client


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
