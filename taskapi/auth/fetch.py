"""Download a key set over HTTP or HTTPS, also through a proxy, with limits on time and size."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..concurrency.resolver import resolve
from ..config.proxies import Proxy
from ..config.settings import VERSION

MAX_JWKS_BYTES = 256 * 1024

MAX_HEAD_BYTES = 8192
"""Maximum length of a proxy's response to CONNECT."""

USER_AGENT = f"taskapi/{VERSION}"
"""Firewalls in front of issuers refuse requests without one."""


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies certificates against the system's authorities, or those of SSL_CERT_FILE.

    It offers HTTP/1.1 only (ALPN). Loading the authorities takes 45 ms of CPU in C, during which no greenlet of the
    worker runs: call this once, not per fetch.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


OnHeaders = Callable[[Message], object]
"""Called with the headers of a response of status 200."""


def ignore_headers(headers: Message) -> None:
    """Do nothing with the headers of a response."""


class DownloadError(ValueError):
    """The server, or the proxy, responds with something else than a body of status 200; the message is for the log."""


def download(
    url: str,
    context: ssl.SSLContext | None,
    timeout: float,
    proxy: Proxy | None = None,
    *,
    on_headers: OnHeaders = ignore_headers,
) -> bytes:
    """Return the body of `url`; `context` is for https, None for http. The headers are passed to `on_headers`.

    `timeout` is in seconds of wall-clock time and covers everything: DNS, connection attempts to all addresses, the
    proxy, TLS handshake, headers and body. Redirects are not followed: another status than 200 and a body of more than
    `MAX_JWKS_BYTES` raise `DownloadError`, failures of the network `OSError` and `http.client.HTTPException`.
    """
    deadline = time.monotonic() + timeout
    try:
        return _download(url, context, deadline, proxy, on_headers)
    except (OSError, ValueError, HTTPException):
        _seconds_left(deadline)  # the cause is the timer, which has shut the connection down
        raise


def _download(
    url: str, context: ssl.SSLContext | None, deadline: float, proxy: Proxy | None, on_headers: OnHeaders
) -> bytes:
    """Return the body of `url` as `download` does, until `deadline` (time.monotonic).

    At the deadline it raises TimeoutError, or what reading from the connection that was shut down causes: `OSError`,
    `HTTPException` or `DownloadError`. The caller turns these into TimeoutError.
    """
    target = urlsplit(url)
    host = target.hostname or ""
    connection = HTTPSConnection(host, target.port, context=context) if context else HTTPConnection(host, target.port)
    path = urlunsplit(("", "", target.path or "/", target.query, ""))
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
    with closing(connection), closing(_connect(*_peer(proxy, host, connection.port), deadline)) as plain:
        if proxy and context:
            with _shut_down_at(deadline, plain):
                _open_tunnel(plain, target, proxy)
        elif proxy:
            path = urlunsplit((target.scheme, target.netloc, target.path or "/", target.query, ""))
            headers |= {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        # The handshake follows below, once the timer can interrupt it.
        connected = (
            context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) if context else plain
        )
        with closing(connected), _shut_down_at(deadline, connected):
            if isinstance(connected, ssl.SSLSocket):
                connected.do_handshake()
            connection.sock = connected
            body = _get(connection, path, headers, on_headers)
            _seconds_left(deadline)  # raises if the timer ended a body without Content-Length, which looks complete
            return body


def _peer(proxy: Proxy | None, host: str, port: int) -> tuple[str, int]:
    """Return host and port to connect to: those of the proxy, or without one those of the URL."""
    return (proxy.host, proxy.port) if proxy else (host, port)


@contextmanager
def _shut_down_at(deadline: float, connected: socket.socket) -> Iterator[None]:
    """Shut the connection down at the deadline, if the `with` block runs until then; TimeoutError if it is over.

    A socket timeout applies to each receive: a server that sends a byte at a time would never exceed it.
    """
    timer = threading.Timer(_seconds_left(deadline), _interrupt, (connected,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open_tunnel(plain: socket.socket, target: SplitResult, proxy: Proxy) -> None:
    """Let the proxy connect to the host and port of an https URL (CONNECT, RFC 9110, section 9.3.6).

    Raises `DownloadError` for a status other than 2xx, a response that is too long, or the end of the connection.
    """
    host = f"[{target.hostname}]" if ":" in (target.hostname or "") else target.hostname
    authority = f"{host}:{target.port or 443}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: {USER_AGENT}"]
    lines += [f"Proxy-Authorization: {proxy.authorization}"] if proxy.authorization else []
    plain.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = plain.recv(1)  # not more: what follows belongs to TLS
        if not byte or len(head) > MAX_HEAD_BYTES:
            raise DownloadError("the proxy closes the connection")
        head += byte
    status = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", head)
    if status is None or not status[1].startswith(b"2"):
        raise DownloadError(f"the proxy responds with status {status[1].decode() if status else 'unknown'}")


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


def _get(connection: HTTPConnection, path: str, headers: dict[str, str], on_headers: OnHeaders) -> bytes:
    """Send a GET request, pass the headers of the response to `on_headers`, and return the body.

    Raises `DownloadError` for another status than 200, or a body of more than `MAX_JWKS_BYTES`.
    """
    connection.request("GET", path, headers=headers)
    with closing(connection.getresponse()) as response:
        if response.status != 200:
            hint = ", and redirects are not followed" if 300 <= response.status < 400 else ""
            raise DownloadError(f"status {response.status}{hint}")
        on_headers(response.headers)
        body = response.read(MAX_JWKS_BYTES + 1)
    if len(body) > MAX_JWKS_BYTES:
        raise DownloadError(f"the body has more than {MAX_JWKS_BYTES} bytes")
    return body


def _seconds_left(deadline: float) -> float:
    """Return the seconds until the deadline; raise `TimeoutError` when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the download took too long")
    return left


def _interrupt(connected: socket.socket) -> None:
    """Shut down a connection that another thread reads from, which ends the read; no effect if it is closed."""
    with suppress(OSError):  # the peer has just closed it
        # Not `connected.shutdown`: SSLSocket.shutdown drops the TLS state first, and the reader would then accept bytes
        # that arrive unencrypted as the response.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
