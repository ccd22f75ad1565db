"""DNS lookups with a timeout: `socket.getaddrinfo` has none."""

from __future__ import annotations

import socket
import threading
from typing import Any

Address = tuple[int, int, int, str, Any]
"""A result of `socket.getaddrinfo`: family, type, protocol, canonical name, socket address."""


class _Lookup:
    """A getaddrinfo call in its own thread, and its result."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.done = threading.Event()
        self.addresses: list[Address] = []
        self.error = ""

    def run(self) -> None:
        """Look the host up, store the addresses or the error, end the sharing of this lookup, and set `done`."""
        try:
            self.addresses = list(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:  # ValueError: invalid IDNA name or port
            self.error = str(error)
        finally:
            with _lock:
                del _running[self.host, self.port]
            self.done.set()


_lock = threading.Lock()
_running: dict[tuple[str, int], _Lookup] = {}


def resolve(host: str, port: int, timeout: float) -> list[Address]:
    """Return the TCP addresses of a host; raise `TimeoutError` after `timeout` seconds, `OSError` if there are none.

    Concurrent callers for the same host and port share one lookup, which goes on after a timeout. So a resolver that
    hangs occupies one thread per host and port, however many callers have timed out. (Under gevent the thread is a
    greenlet, and getaddrinfo runs in the hub's pool of ten native threads, which other lookups need too.)
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
