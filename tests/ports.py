"""TCP ports of 127.0.0.1 for servers that cannot inherit a socket or whose address must be known before they start."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, COUNT = 20_000, 12_000
"""Linux assigns ports from 32768 on to clients that connect, so no client takes one of these."""


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that nothing listens on and that no other process reserves through this function.

    The reservation is a Unix socket in the abstract namespace, which exists once on the machine and ends with the
    process.
    """
    while True:
        port = FIRST + secrets.randbelow(COUNT)
        with socket.socket(socket.AF_UNIX) as reservation:
            try:
                reservation.bind(f"\0taskapi-tests-port-{port}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            if _is_free(port):
                yield port
                return


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
