"""The worker of gunicorn: many slow clients at once, and none for too long; and its access log.

`gunicorn.conf.py` imports it, after gevent has patched what waits.
"""

from __future__ import annotations

import fcntl
import signal
import socket
import struct
import termios
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from logging import INFO, LogRecord
from queue import Empty
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gunicorn.glogging import Logger
from gunicorn.workers.ggevent import GeventWorker

from ..concurrency import slots
from ..concurrency.threads import NativeThreads
from ..database import sqlite
from ..database.engine import POOL_SIZE
from ..http.request_id import HEADER as REQUEST_ID

REQUEST_TIMEOUT = 20
"""Seconds from the first byte of a request to its last, and for each piece of an answer to be taken."""

IDLE_GRACE = 2
"""Seconds that a worker which is stopping leaves an idle connection open, for a request that is on its way."""


LET_OTHERS_RUN = 1e-9
"""Seconds to sleep between pieces of work for one client: no time, but the event loop looks at all sockets first.

`gevent.sleep(0)` switches to the greenlets that can run already; the loop looks at the sockets only after 50 of those.
"""


class DeadlineSocket:
    """A client's connection with a deadline for each request, after which it reads as if the client had closed it."""

    is_trusted: bool | None = None
    """Whether the peer is a trusted proxy; None until it is known (protocol.py)."""

    def __init__(self, connected: socket.socket, keepalive: float) -> None:
        self._socket = connected
        self._keepalive = keepalive
        self._late = False
        self._due: float | None = time.monotonic() + REQUEST_TIMEOUT  # a new connection has no reason to wait
        self._arrived_in_time: int | None = None
        self._has_received = self._has_sent = False
        self.idle_since = 0.0
        """When the last response was complete, by the monotonic clock."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    @property
    def idle(self) -> bool:
        """Whether a request was answered and no other has begun."""
        return self._due is None

    def asked(self) -> None:
        """Start the deadline of a request of which nothing was received: it arrived together with the one before."""
        if self._due is None:
            # Neither recv nor send switches for pipelined requests: without this, one client would be served alone.
            gevent.sleep(LET_OTHERS_RUN)
            self._due = time.monotonic() + REQUEST_TIMEOUT

    def answered(self) -> None:
        """The response is complete: no deadline runs until the next request begins."""
        self._due = self._arrived_in_time = None
        self._has_received = self._has_sent = False
        self.idle_since = time.monotonic()

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes; b"" once the request is late, which is for good."""
        if self._late:
            return b""  # what still arrives is the rest of a request, and not another one
        timeout = self._keepalive
        if self._due is not None:
            if self._has_received:
                # gevent's recv switches to other greenlets only when it has to wait: a client that sends faster than
                # its request is parsed would be served alone. Most requests arrive in two pieces, and need none.
                gevent.sleep(LET_OTHERS_RUN)
            self._has_received = True
            timeout = self._due - time.monotonic()
            if timeout <= 0:
                return self._recv_late(size)
        self._socket.settimeout(timeout)
        try:
            received = self._socket.recv(size)
        except TimeoutError:
            self._late = True
            return b""
        finally:
            self._socket.settimeout(REQUEST_TIMEOUT)  # for what is sent
        if self._due is None:
            self._due = time.monotonic() + REQUEST_TIMEOUT
        return received

    def _recv_late(self, size: int) -> bytes:
        """Receive after the deadline: what had arrived when this was first called, and nothing that arrives later.

        A request may wait for a slot for longer than its deadline, while its body lies in the kernel.
        """
        if self._arrived_in_time is None:
            self._arrived_in_time = _count_unread(self._socket)
        size = min(size, self._arrived_in_time)
        self._arrived_in_time -= size
        self._late = self._arrived_in_time == 0
        return self._socket.recv(size) if size else b""

    def sendall(self, data: bytes) -> None:
        """As a socket's; what is taken in one piece, as nearly everything is, needs no pieces made of it."""
        if self._has_sent:
            # send does not switch while the client reads fast enough: a long export would be served alone.
            gevent.sleep(LET_OTHERS_RUN)
        self._has_sent = True
        sent = self._socket.send(data)
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def close_idle(self) -> bool:
        """Close an idle connection, unless the next request has arrived already; whether it was closed."""
        if _count_unread(self._socket):
            return False
        self._due = time.monotonic() + REQUEST_TIMEOUT  # no longer idle, so it is not closed a second time
        with suppress(OSError):  # the client has closed it already
            self._socket.shutdown(socket.SHUT_RD)  # recv returns b"", and its greenlet closes the connection
        return True

    def shutdown(self, how: int) -> None:
        """Shut the socket down, unless it is to be reset (protocol.py): a FIN would end the response in order."""
        lingers, _ = struct.unpack("ii", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if not lingers:
            self._socket.shutdown(how)


def _count_unread(connected: socket.socket) -> int:
    """Return how many bytes the kernel has received on a socket that were not read yet."""
    (count,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.FIONREAD, bytes(4)))
    return int(count)


class Body:
    """The body of a request; reading it releases the request's slot while the client is waited for."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def read(self, size: int | None = None) -> bytes:
        """Read like a file."""
        with slots.released():
            received: bytes = self._body.read(size)
        return received


class Worker(GeventWorker):
    """Waits for many clients at once and for none too long; works for as many as it has connections to the database."""

    sockets: Any
    wsgi: Any
    worker_connections: int
    told: Any
    """The master's queue of signals, as it was when this worker was forked (gunicorn.conf.py)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clients: set[DeadlineSocket] = set()
        self._leaves_at: float | None = None

    def init_process(self) -> None:
        """Begin, with the settings as attributes: gunicorn asks for thirty a request, each by way of two functions."""
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def init_signals(self) -> None:
        """Heed what was said since the fork as well: until now the master's own handlers have noted it, for nobody."""
        super().init_signals()
        with suppress(Empty):
            while True:
                if self.told.get_nowait() in (signal.SIGTERM, signal.SIGQUIT):
                    self.alive = False

    def patch(self) -> None:
        """Wait for the listening sockets too; all else was done above, before anything was imported."""
        self.sockets = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def load_wsgi(self) -> None:
        """Work on as many requests as there are connections to the database; the others wait here, in line."""
        super().load_wsgi()
        sqlite.use_threads(NativeThreads(sqlite.EXTRA_CONNECTIONS))
        application, semaphore = self.wsgi, BoundedSemaphore(POOL_SIZE)

        def with_slot(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/healthz":
                return application(environ, start_response)  # whether it lives must not depend on who waits in line
            environ["wsgi.input"] = Body(environ["wsgi.input"])
            gevent.sleep(0)  # receive from clients that connected meanwhile first, so that they queue for a slot too
            with slots.held(semaphore):
                return application(environ, start_response)

        self.wsgi = with_slot

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Nothing: the connection itself knows how long it may be idle."""
        return nullcontext()

    def handle(self, listener: Any, connected: socket.socket, address: Any) -> None:
        client = DeadlineSocket(connected, self.cfg.keepalive)
        self._clients.add(client)
        self._make_room()
        try:
            super().handle(listener, client, address)
        finally:
            self._clients.discard(client)

    def handle_request(self, listener_name: Any, request: Any, client: DeadlineSocket, address: Any) -> None:
        client.asked()
        super().handle_request(listener_name, request, client, address)
        client.answered()
        if len(self._clients) >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Close the connection that is idle for longest, if there are as many as gunicorn accepts.

        Otherwise new clients would wait in the kernel until an idle one ends by its timeout (`keepalive`).
        """
        if len(self._clients) < self.worker_connections:
            return
        idle = [client for client in self._clients if client.idle]
        for client in sorted(idle, key=lambda client: client.idle_since):
            if client.close_idle():
                self._clients.discard(client)  # it counts no more, though it is closed a moment later
                return

    def notify(self) -> None:
        """Once a second: tell the master that this worker lives; and when it is to stop, close what is idle."""
        super().notify()
        if self.alive:
            return
        self._leaves_at = self._leaves_at or time.monotonic() + IDLE_GRACE
        if time.monotonic() >= self._leaves_at:
            for client in [client for client in self._clients if client.idle]:
                with suppress(OSError):  # it is gone already
                    client.shutdown(socket.SHUT_RD)


MILLISECOND = timedelta(milliseconds=1)

ACCESS_LOG_FORMAT = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(M)sms %({x-request-id}o)s'
"""The path without the query string, and no headers: a token that somebody put into an address is not kept in a log."""


class AccessLogger(Logger):
    """Writes an access line of the seven words that ours has, without making the sixty that a format may have.

    The path stands in it as it was sent: decoded, a line break in it would begin a line of somebody's own (CWE-117).
    """

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
        """The words of a format."""
        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        return {**atoms, "U": req.path}

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line."""
        if self.cfg.access_log_format != ACCESS_LOG_FORMAT:
            super().access(resp, req, environ, request_time)
        elif self.access_log_enabled:
            path = (req.path or "-").replace('"', '\\"')
            status = resp.status.split(None, 1)[0] if isinstance(resp.status, str) else resp.status
            name = dict(resp.headers).get(REQUEST_ID, "-")
            took = request_time // MILLISECOND
            self._write(f'{environ.get("REMOTE_ADDR", "-")} "{req.method} {path}" {status} {resp.sent} {took}ms {name}')

    def _write(self, line: str) -> None:
        for handler in self.access_log.handlers:
            # gunicorn's own to standard output or a file, which is open, writes the line and nothing else.
            stream = getattr(handler, "stream", None) if hasattr(handler, "_gunicorn") else None
            try:
                if stream is None:
                    handler.handle(LogRecord(self.access_log.name, INFO, "", 0, line, None, None))
                else:
                    stream.write(f"{line}\n")
                    stream.flush()
            except (OSError, ValueError):
                continue  # no answer must fail because it cannot be noted down
