"""A TCP relay to PostgreSQL, whose user sees every piece of data before it is passed on."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import URL, make_url

Handle = Callable[[socket.socket, socket.socket], None]
"""Serves one connection, given the sockets to the client and to PostgreSQL; see `pieces`."""


@contextmanager
def relay_connections(url: str, handle: Handle) -> Iterator[str]:
    """Accept connections until the context ends, each served by `handle` in a thread; yield the URL of the relay."""
    target = make_url(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, target, handle), daemon=True).start()
        through = target.set(host="127.0.0.1", port=listener.getsockname()[1], query={})
        yield through.render_as_string(hide_password=False)


def _accept(listener: socket.socket, target: URL, handle: Handle) -> None:
    with suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            threading.Thread(target=handle, args=(client, _connect(target)), daemon=True).start()


def _connect(url: URL) -> socket.socket:
    """Connect to PostgreSQL at a host and port, or at the Unix socket in the folder that the URL's query names."""
    folder, port = url.query.get("host"), url.port or 5432
    if folder is None:
        return socket.create_connection((url.host or "127.0.0.1", port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{folder}/.s.PGSQL.{port}")
    return server


def pieces(client: socket.socket, server: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """Yield each piece of data that arrives, and whether the client sent it; then pass it on.

    Ends when one side closes. Both sockets are closed at the end, also if the caller stops before.
    """
    with client, server, suppress(OSError):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                yield data, source is client
                (server if source is client else client).sendall(data)
