"""DNS lookups with a timeout, which getaddrinfo does not have."""

from __future__ import annotations

import socket
import threading
from typing import Any

Address = tuple[int, int, int, str, Any]
"""What `socket.getaddrinfo` returns for each address: family, type, protocol, canonical name, socket address."""


class _Lookup:
    """A getaddrinfo call in a thread of its own, and its result."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.done = threading.Event()
        self.addresses: list[Address] = []
        self.error = ""

    def run(self) -> None:
        try:
            self.addresses = list(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:  # ValueError: the name cannot be encoded (IDNA), or the port is no port
            self.error = str(error)
        finally:
            with _lock:
                del _running[self.host, self.port]
            self.done.set()


_lock = threading.Lock()
_running: dict[tuple[str, int], _Lookup] = {}


def resolve(host: str, port: int, timeout: float) -> list[Address]:
    """Return the TCP addresses of a host; raise `TimeoutError` after `timeout` seconds, `OSError` if there are none.

    Callers that ask for the same host at the same time share one lookup. So a resolver that hangs occupies one thread
    per host name, however many callers have stopped waiting for it. (Under gevent the thread is a greenlet, and
    getaddrinfo runs in the hub's pool of ten native threads, which other lookups need too.)
    """
    with _lock:
        lookup = _running.get((host, port))
        if lookup is None:
            lookup = _Lookup(host, port)
            threading.Thread(target=lookup.run, name="resolver", daemon=True).start()
            _running[host, port] = lookup
    if not lookup.done.wait(timeout):
        raise TimeoutError("the DNS lookup took too long")
    if not lookup.addresses:
        raise OSError(f"the DNS lookup failed: {lookup.error or 'no address'}")
    return lookup.addresses
