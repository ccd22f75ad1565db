"""Download a key set over HTTP or HTTPS, with limits on time and size."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

from ..concurrency.resolver import resolve

MAX_JWKS_BYTES = 256 * 1024


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies certificates against the system's authorities, or those of SSL_CERT_FILE.

    It offers HTTP/1.1 only (ALPN). Loading the authorities takes 45 ms of CPU in C, during which no greenlet of the
    worker runs: call this once, not per fetch.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def download(url: str, context: ssl.SSLContext | None, timeout: float) -> bytes:
    """Return the body of `url`, whose query is not sent; `context` is for https, None for http.

    `timeout` is in seconds of wall-clock time and covers everything: DNS, connection attempts to all addresses, TLS
    handshake, headers and body. Redirects are not followed: another status than 200 and a body of more than
    `MAX_JWKS_BYTES` raise `ValueError`. Raises `OSError` and `http.client.HTTPException` for failures of the network.
    """
    deadline = time.monotonic() + timeout
    target = urlsplit(url)
    host = target.hostname or ""
    connection = HTTPSConnection(host, target.port, context=context) if context else HTTPConnection(host, target.port)
    with closing(_connect(host, connection.port, deadline)) as plain:
        # The handshake follows below, once the timer can interrupt it.
        connected = (
            context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) if context else plain
        )
        with closing(connected), closing(connection):
            # A socket timeout applies to each receive: a server that sends a byte at a time would never exceed it.
            timer = threading.Timer(_seconds_left(deadline), _interrupt, (connected,))
            timer.daemon = True
            timer.start()
            try:
                if isinstance(connected, ssl.SSLSocket):
                    connected.do_handshake()
                connection.sock = connected
                body = _get(connection, target.path or "/")
                _seconds_left(deadline)  # raises if the timer ended a body without Content-Length, which looks complete
                return body
            finally:
                timer.cancel()


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Return a TCP connection to the first address of the host that accepts one; raise `OSError` if none does.

    The time until `deadline` (time.monotonic) is divided among the addresses; what is left is the socket's timeout.
    """
    addresses = resolve(host, port, _seconds_left(deadline))
    failure: OSError | None = None
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        connected = socket.socket(family, kind, protocol)
        try:
            # Divide the time among the addresses, so that one without a response (often IPv6, the first) leaves some.
            connected.settimeout(_seconds_left(deadline) / (len(addresses) - tried))
            connected.connect(address)
        except OSError as error:
            connected.close()
            failure = error
        else:
            connected.settimeout(_seconds_left(deadline))
            return connected
    raise failure or OSError("no address")


def _get(connection: HTTPConnection, path: str) -> bytes:
    """Send a GET request, return the body; `ValueError` if the status is not 200, or it exceeds `MAX_JWKS_BYTES`."""
    connection.request("GET", path, headers={"Accept": "application/json"})
    with closing(connection.getresponse()) as response:
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        body = response.read(MAX_JWKS_BYTES + 1)
    if len(body) > MAX_JWKS_BYTES:
        raise ValueError("the response is too large")
    return body


def _seconds_left(deadline: float) -> float:
    """Return the seconds until the deadline; raise `TimeoutError` when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the download took too long")
    return left


def _interrupt(connected: socket.socket) -> None:
    """Shut down a connection, if it is open, that another thread reads from; that read then ends."""
    with suppress(OSError):  # the peer has just closed it
        # Not `connected.shutdown`: SSLSocket.shutdown drops the TLS state first, and the reader would then accept bytes
        # that arrive unencrypted as the response.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
