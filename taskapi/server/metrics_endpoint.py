"""Serve `/metrics` on a port of its own, in every worker, from the numbers of all of them.

The master listens and never accepts: as with the service's own port, each connection is accepted by one of its workers,
which adds up the numbers of all. So the port survives a worker that is killed and a reload, there is no other process
to supervise, and a worker that is frozen delays nothing. The master forks without a thread of its own.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from prometheus_client import make_wsgi_app

from ..concurrency.cooperative import wait_for_turn
from ..config.settings import VERSION
from ..telemetry import metrics
from ..telemetry.collector import registry
from ..telemetry.memory import SharedMemory

log = logging.getLogger(__name__)

PATH = "/metrics"

_INHERITED = "TASKAPI_METRICS"
"""Environment variable of a reload: the version of the code, the descriptors of the port and of the memory, and the
slots of the workers of the code before. Another version may have other numbers in the memory."""

MAX_SCRAPES = 4
"""Connections to the port that a worker serves at a time; the others wait in the kernel's queue."""

SCRAPE_TIMEOUT = 10
"""Seconds from the beginning of a connection to its end: no scraper that hangs keeps a place."""

SPARE_SLOTS = 64
"""Slots of shared memory in addition to two for each worker: a reload starts new workers before the old ones end, and
the signal TTIN starts one more each time."""

_NOT_FOUND = b"the metrics are at /metrics\n"


class Exporter:
    """The shared memory of a gunicorn master and its workers, and the socket on which the workers serve metrics."""

    def __init__(self, host: str, port: int, workers: int) -> None:
        """Create the memory, or take over that of the code before a reload (`environment`), and its open port."""
        self._address = (host, port)
        self._listener: socket.socket | None = None
        descriptor = None
        self._previous_slots: set[int] = set()
        inherited = os.environ.pop(_INHERITED, "").split()
        if inherited and inherited[0] == VERSION:
            listener, descriptor, *slots = map(int, inherited[1:])
            self._listener = socket.socket(fileno=listener)
            self._previous_slots = {*slots}
            os.set_inheritable(listener, False)
        self.memory = SharedMemory(2 * workers + SPARE_SLOTS, descriptor)
        self.memory.common[metrics.WORKERS_CONFIGURED.first] = workers
        if not self.memory.is_inherited:
            self.memory.common[metrics.PURGE_OLDEST_DUE.first] = math.nan  # not read yet

    def environment(self, slots: Iterable[int | None]) -> dict[str, str]:
        """Return the environment variable with which new code of the master takes over the port and the memory.

        `slots` are those of the workers, which go on for a while. Call it immediately before `exec`. Empty if the port
        is not open, or the memory has no descriptor: then the numbers begin at 0 again.
        """
        if self._listener is None or self.memory.descriptor < 0:
            return {}
        descriptors = (self._listener.fileno(), self.memory.descriptor)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        taken = (slot for slot in slots if slot is not None)
        return {_INHERITED: " ".join([VERSION, *map(str, (*descriptors, *taken))])}

    def listen(self) -> None:
        """Open the port, unless it is open (in the master). Raises OSError."""
        if self._listener is None:
            is_ipv6 = ":" in self._address[0]
            family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
            dual = self._address[0] == "::" and socket.has_dualstack_ipv6()
            self._listener = socket.create_server(self._address, family=family, dualstack_ipv6=dual)

    def free_slot(self, taken: Iterable[int | None]) -> int | None:
        """Return a slot for a new worker, the lowest that no running worker has; None if there is none."""
        return min({*range(len(self.memory.slots))} - {*taken} - self._previous_slots, default=None)

    def serve(self) -> WSGIServer | None:
        """Begin to serve the metrics of all workers (in a worker); return the server, None if the port is not open."""
        if self._listener is None:
            return None
        # A socket of this process' event loop over the same listening socket.
        listener = socket.socket(self._listener.family, socket.SOCK_STREAM, fileno=os.dup(self._listener.fileno()))
        server = WSGIServer(
            listener,
            _at_path(make_wsgi_app(registry(self.memory, wait_for_turn))),
            spawn=Pool(MAX_SCRAPES),
            handler_class=_Handler,
            environ={"SERVER_NAME": self._address[0]},  # gevent would look up the name of the address
            log=None,
            error_log=log,
        )
        server.start()
        return server


class _Handler(WSGIHandler):
    """Serves one connection for up to `SCRAPE_TIMEOUT` seconds."""

    def handle(self) -> None:
        """Serve requests until the connection ends; close it after the timeout."""
        with gevent.Timeout(SCRAPE_TIMEOUT, False):
            super().handle()


def _at_path(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that serves only `PATH`, and one response on each connection.

    A connection that stays open would go on in a worker that is about to be replaced.
    """

    def only_metrics(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application, or respond 404 for another path."""

        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, ("Connection", "close")])

        if environ["PATH_INFO"] == PATH:
            return application(environ, start)
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [_NOT_FOUND]

    return only_metrics
