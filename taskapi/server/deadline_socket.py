"""Client connection with a read deadline per request, so that slow clients are closed and none is served alone."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress
from typing import Any

import gevent

REQUEST_TIMEOUT = 20
"""Seconds from the first byte of a request to its last; also for each piece of a response that a client receives."""

YIELD_INTERVAL = 1e-9
"""Seconds to sleep in order to let other greenlets run: practically none, but the event loop polls all sockets first.

`gevent.sleep(0)` only switches to greenlets that are ready; the loop polls the sockets after 50 of those.
"""


class DeadlineSocket:
    """Wrapper of a client's socket: after the deadline of a request, `recv` returns b"" as if the client had closed.

    The deadline starts with the first byte of a request. Between requests, `keepalive` seconds (float) apply instead.
    """

    is_trusted: bool | None = None
    """Whether the peer is in `forwarded_allow_ips`; None until the first request is parsed (parser.py)."""

    def __init__(self, connected: socket.socket, keepalive: float) -> None:
        self._socket = connected
        self._keepalive = keepalive
        self._timed_out = False
        self._deadline: float | None = time.monotonic() + REQUEST_TIMEOUT  # no idle time before the first request
        self._arrived_in_time: int | None = None
        self._has_received = self._has_sent = False
        self.idle_since = 0.0
        """End of the last response, by time.monotonic()."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped socket."""
        return getattr(self._socket, name)

    @property
    def idle(self) -> bool:
        """True between the end of a response and the first byte of the next request."""
        return self._deadline is None

    def request_started(self) -> None:
        """Start the deadline of a parsed request, unless `recv` has started it, and let other greenlets run before.

        `recv` has not for a pipelined request, whose bytes came with the previous one; nothing is done for other
        requests.
        """
        if self._deadline is None:
            # Neither recv nor send switches for pipelined requests: without this, one client would block all others.
            gevent.sleep(YIELD_INTERVAL)
            self._deadline = time.monotonic() + REQUEST_TIMEOUT

    def request_finished(self) -> None:
        """Stop the deadline and set `idle_since`: the connection is idle until the next request begins."""
        self._deadline = self._arrived_in_time = None
        self._has_received = self._has_sent = False
        self.idle_since = time.monotonic()

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes; b"" at the end, after `keepalive` idle seconds, and from the deadline on.

        What the kernel held at the deadline is still received (`_recv_late`). Yields to other greenlets before the
        third and each further piece of a request (the second of the first one).
        """
        if self._timed_out:
            return b""  # what arrives now is the rest of the late request, not the next request
        timeout = self._keepalive
        if self._deadline is not None:
            if self._has_received:
                # gevent's recv switches to other greenlets only when it has to wait: a client that sends faster than
                # its request is parsed would be served alone. Most requests arrive in at most two pieces.
                gevent.sleep(YIELD_INTERVAL)
            self._has_received = True
            timeout = self._deadline - time.monotonic()
            if timeout <= 0:
                return self._recv_late(size)
        self._socket.settimeout(timeout)
        try:
            received = self._socket.recv(size)
        except TimeoutError:
            self._timed_out = True
            return b""
        except OSError as error:
            # `shutdown_reads` was called while this waited: gevent raises this error instead of returning the end.
            if error.errno != errno.EBADF:
                raise
            return b""
        finally:
            self._socket.settimeout(REQUEST_TIMEOUT)  # for send
        if self._deadline is None:
            self._deadline = time.monotonic() + REQUEST_TIMEOUT
        return received

    def _recv_late(self, size: int) -> bytes:
        """Receive after the deadline: only the bytes that the kernel held when this was first called; then b"".

        A request may wait for a concurrency slot longer than its deadline, while its body is in the kernel's buffer.
        """
        if self._arrived_in_time is None:
            self._arrived_in_time = _count_unread(self._socket)
        size = min(size, self._arrived_in_time)
        self._arrived_in_time -= size
        self._timed_out = self._arrived_in_time == 0
        return self._socket.recv(size) if size else b""

    def sendall(self, data: bytes) -> None:
        """Send all of `data`, with one system call if the kernel accepts it at once.

        Yields to other greenlets before every piece of a response but the first.
        """
        if self._has_sent:
            # send does not switch while the client reads fast enough: a long export would be served alone.
            gevent.sleep(YIELD_INTERVAL)
        self._has_sent = True
        sent = self._socket.send(data)
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def close_idle(self) -> bool:
        """Make the greenlet of an idle connection close it and return True; return False if a request has arrived."""
        if _count_unread(self._socket):
            return False
        self._deadline = time.monotonic() + REQUEST_TIMEOUT  # not idle any more, so it is not closed a second time
        self.shutdown_reads()
        return True

    def shutdown_reads(self) -> None:
        """Make `recv` return b"", so that the connection's greenlet closes it; no effect if it is closed already."""
        with suppress(OSError):  # the client has already closed it
            self._socket.shutdown(socket.SHUT_RD)

    def shutdown(self, how: int) -> None:
        """Shut the socket down; do nothing if closing it is to reset the connection (response.py).

        A FIN would make a partial response look complete.
        """
        lingers, _ = struct.unpack("ii", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if not lingers:
            self._socket.shutdown(how)


def _count_unread(connected: socket.socket) -> int:
    """Return the number of bytes in the kernel's receive buffer of a socket."""
    (count,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.FIONREAD, bytes(4)))
    return int(count)
