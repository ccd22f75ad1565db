"""gunicorn gevent worker: a read deadline per request, and at most POOL_SIZE requests in the application at a time.

`gunicorn.conf.py` imports it after gevent has patched the standard library. It serves HTTP/1.0 and HTTP/1.1 only.
"""

from __future__ import annotations

import errno
import signal
import socket
import time
from contextlib import suppress
from datetime import timedelta
from logging import ERROR
from queue import Empty
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gunicorn import util
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.ggevent import GeventWorker

from ..concurrency.threads import NativeThreads
from ..database import sqlite
from ..database.engine import POOL_SIZE
from ..http import observation, path_prefix
from ..telemetry.limited_log import LimitedLog
from .addresses import unmapped_peer
from .deadline_socket import DeadlineSocket
from .environ import Environ, EnvironFactory
from .parse_errors import redact
from .parser import FastParser, drain_body, has_unread_body
from .request_slots import limit_concurrency
from .response import FastResponse

IDLE_GRACE = 2
"""Seconds that a stopping worker leaves an idle connection open, for a request that the client is already sending."""

_DISCONNECTS = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})


class Worker(GeventWorker):
    """Serves each connection in a greenlet, modeled on gunicorn's AsyncWorker, with FastParser and FastResponse."""

    sockets: Any
    wsgi: Any
    worker_connections: int
    slots_class = BoundedSemaphore
    inherited_signals: Any = None
    """The master's queue of signals as of the fork (hooks.post_fork)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections: set[DeadlineSocket] = set()
        self._idle_close_time: float | None = None
        self._limited_log = LimitedLog(self.log.error_log)

    def init_process(self) -> None:
        """Cache the settings (`cache_settings`) and run the worker until it stops.

        They do not change in its lifetime: a reload starts new workers.
        """
        cache_settings(self.cfg)
        super().init_process()

    def init_signals(self) -> None:
        """Install the signal handlers; stop the worker if SIGTERM or SIGQUIT has arrived since the fork.

        Until now the handlers inherited from the master put signals into a queue that no one reads in this process.
        """
        super().init_signals()
        with suppress(Empty):
            while self.inherited_signals:
                if self.inherited_signals.get_nowait() in (signal.SIGTERM, signal.SIGQUIT):
                    self.alive = False

    def patch(self) -> None:
        """Replace the listening sockets by gevent's; gunicorn.conf.py has patched all else before its imports."""
        self.sockets = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def load_wsgi(self) -> None:
        """Load the application, limit its concurrent requests to `POOL_SIZE`, and give SQLite native threads."""
        super().load_wsgi()
        sqlite.use_threads(NativeThreads(sqlite.EXTRA_CONNECTIONS))
        self.slots = self.slots_class(POOL_SIZE)
        # The prefix is applied before the slot is acquired, so that the liveness probe needs none at any path.
        limited = path_prefix.in_front_of(limit_concurrency(self.wsgi, self.slots), self.wsgi)
        self.wsgi = observation.in_front_of(limited, self.wsgi)
        self._environs = EnvironFactory(self.cfg)

    # Serving

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Serve the requests of a connection until it ends, then close it.

        A worker with as many connections as it accepts first closes an idle one. Errors of the socket are logged, but
        not a disconnect of the client. Raises nothing.
        """
        connection = DeadlineSocket(client, self.cfg.keepalive)
        self._connections.add(connection)
        self._close_longest_idle()
        try:
            self._serve(listener.getsockname(), connection, unmapped_peer(addr))
        except gevent.GreenletExit:
            self.log.debug("Closing connection: the graceful timeout is over")
        except NoMoreData:
            self.log.debug("Closing connection: it ended within a request")  # gunicorn's message quotes the request
        except OSError as error:
            if error.errno not in _DISCONNECTS:
                self._limited_log.write(ERROR, str(error.errno), "Socket error processing request.", error)
        finally:
            self._connections.discard(connection)
            util.close(connection)

    def _serve(self, server: Any, connection: DeadlineSocket, address: Any) -> None:
        """Parse requests and respond to each, until one ends the connection, as does one that cannot be parsed (4xx).

        `server` and `address` are socket addresses, of the listener and of the client. Raises `OSError`.
        """
        proxy: dict[str, Any] = {}
        try:
            for request in FastParser(self.cfg, connection, address):
                # The PROXY protocol sends its line once, in front of the first request.
                proxy = request.proxy_protocol_info = request.proxy_protocol_info or proxy
                if not self.handle_request(server, request, connection, address):
                    return
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  gunicorn logs it
            self.handle_error(None, connection, address, error)

    def handle_request(self, listener_name: Any, req: Any, sock: DeadlineSocket, addr: Any) -> bool:
        """Run the application for a request and send its response; return True if the connection stays open.

        Raises `OSError` if the client has disconnected. Any other exception becomes a 500, or ends the connection if
        the response has begun.
        """
        sock.request_started()
        environ: Environ = {}
        response: FastResponse | None = None
        try:
            self.cfg.pre_request(self, req)
            response, environ = self._environs.create(req, sock, addr, listener_name)
            self._count_request(response)
            self._respond(req, response, environ)
        except OSError:
            raise  # the client has disconnected
        except (Exception, SystemExit) as error:  # noqa: BLE001  SystemExit: SIGABRT after the worker timeout
            self._fail(req, response, sock, addr, error)
            return False
        finally:
            self.cfg.post_request(self, req, environ, response)
        sock.request_finished()
        if len(self._connections) >= self.worker_connections:
            self._close_longest_idle()
        if response.announces_close:
            self._drain(req, sock)
            return False
        return True

    def _drain(self, request: Any, connection: DeadlineSocket) -> None:
        """If the body has an unread rest, end the response (FIN) and receive that rest, up to `MAX_DRAIN_BYTES`.

        The caller then closes the connection. With unread bytes the kernel would reset it, and a client that is still
        sending, such as nginx with HTTP/1.0, would lose the response.
        """
        if has_unread_body(request):
            connection.shutdown(socket.SHUT_WR)
            with suppress(ParseException):
                drain_body(request, connection)

    def _count_request(self, response: FastResponse) -> None:
        """Count a request, and begin to stop the worker when it has served `max_requests`.

        If the worker stops, or `keepalive` is 0, `response` announces the end of the connection.
        """
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not self.alive or not self.cfg.keepalive:
            response.force_close()

    def _respond(self, request: Any, response: FastResponse, environ: Environ) -> None:
        """Call the application and send its response piece by piece.

        Even if sending fails, log the access, and call the `close` of the application's iterable (PEP 3333).
        """
        started = time.monotonic()
        pieces = self.wsgi(environ, response.start_response)
        try:
            for piece in pieces:
                response.write(piece)
            response.close()
        finally:
            self.log.access(response, request, environ, timedelta(seconds=time.monotonic() - started))
            if hasattr(pieces, "close"):
                pieces.close()

    def _fail(
        self, request: Any, response: FastResponse | None, connection: Any, address: Any, error: BaseException
    ) -> None:
        """Respond 500 to a request whose application failed; if the response has begun, log and end the connection."""
        if response is None or not response.headers_sent:
            self.handle_error(request, connection, address, error)
            return
        redact(error)
        self._limited_log.write(ERROR, type(error).__name__, "Error handling request", error)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Log an error and send its page (4xx, 500 or 501); a failure to send is ignored. Sets `req.uri` to the path.

        The log has the method, the path and the traceback of a 500. Of a parse error only the class is logged and sent:
        gunicorn's message would quote the request, which may hold a bearer token.
        """
        redact(exc)
        if req is not None:
            req.uri = req.path  # without the query string
        super().handle_error(req, client, addr, exc)

    # Connections

    def _close_longest_idle(self) -> None:
        """Close the connection that has been idle the longest, if the worker has as many connections as it accepts.

        A connection on which a request has already arrived is not closed. Without this method new clients would wait
        in the kernel until an idle connection reaches its timeout (`keepalive`).
        """
        if len(self._connections) < self.worker_connections:
            return
        idle = [connection for connection in self._connections if connection.idle]
        for connection in sorted(idle, key=lambda connection: connection.idle_since):
            if connection.close_idle():
                self._connections.discard(connection)  # no longer counted; its greenlet closes it shortly after
                return

    def notify(self) -> None:
        """Send the heartbeat (gunicorn calls this once a second).

        A stopping worker also closes its idle connections, from `IDLE_GRACE` seconds after the first heartbeat of the
        stop on.
        """
        super().notify()
        if self.alive:
            return
        self._idle_close_time = self._idle_close_time or time.monotonic() + IDLE_GRACE
        if time.monotonic() >= self._idle_close_time:
            for connection in [connection for connection in self._connections if connection.idle]:
                connection.shutdown_reads()


def cache_settings(cfg: Any) -> None:
    """Store all settings as attributes of a gunicorn Config, which otherwise looks each up with two function calls.

    gunicorn reads about thirty settings per request.
    """
    cfg.__dict__.update({name: setting.get() for name, setting in cfg.settings.items()})
