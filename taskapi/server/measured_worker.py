"""The gunicorn worker of a service that serves metrics: it counts requests and samples its queues once a second.

`Worker` itself counts nothing, so that a service without METRICS_PORT executes no bytecode for metrics.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from typing import Any

import gevent
from flask import Flask
from gevent.lock import BoundedSemaphore
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import DBAPIError

from ..database.base import db
from ..database.engine import POOL_SIZE
from ..database.failures import DatabaseUnavailable
from ..operations.oldest_due import oldest_due_seconds
from ..telemetry import metrics
from ..telemetry.families import UNMATCHED
from .metrics_endpoint import Exporter
from .worker import Worker

log = logging.getLogger(__name__)

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples of the queues of a worker."""

PURGE_CHECK_INTERVAL = 3600.0
"""Seconds after which one of a master's workers reads again what the purge has to remove, which may scan a table."""

PURGE_CHECK_TIME = 30.0
"""Seconds after which another worker reads it, if the one that began has not finished, because it was killed."""

_ROUTE = "taskapi.route"
"""Key of the WSGI environ for the route of a request, if it has one."""

_clock = time.perf_counter

_add_request = metrics.REQUESTS.add


class MeasuredSlots(BoundedSemaphore):
    """The slots of a worker; counts how many requests wait for one, how often and how long."""

    waiting = 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  as in gevent
        """Acquire a slot, and measure the wait if none is free."""
        if self.counter > 0 or not blocking:
            return super().acquire(blocking)
        started = _clock()
        self.waiting += 1
        try:
            return super().acquire(blocking, timeout)
        finally:
            self.waiting -= 1
            metrics.SLOT_WAITS.add()
            metrics.SLOT_WAIT_SECONDS.add(amount=_clock() - started)


class MeasuredWorker(Worker):
    """A worker that counts its requests in shared memory, and serves the metrics of all workers."""

    slots_class = MeasuredSlots
    exporter: Exporter
    metrics_slot: int | None = None
    """The number of this worker's slot of shared memory. Both are set before the fork (metrics_hooks.py)."""

    def load_wsgi(self) -> None:
        """Load the application as `Worker` does, and note the route of each of its requests."""
        super().load_wsgi()
        self.wsgi = _with_route(self.wsgi)

    def run(self) -> None:
        """Serve metrics and sample while the worker serves requests, and until the last one is completed."""
        self._endpoint = self.exporter.serve()
        gevent.spawn(self._sample_repeatedly)
        super().run()

    def _respond(self, request: Any, response: Any, environ: dict[str, Any]) -> None:
        """Respond to a request as `Worker` does, and count it with its duration, also if the client disconnects."""
        started = _clock()
        try:
            super()._respond(request, response, environ)
        finally:
            _add_request(
                environ.get(_ROUTE, UNMATCHED), request.method, response.status_code or 500, _clock() - started
            )

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Respond to an error as `Worker` does, and count a request that could not be parsed."""
        if req is None or isinstance(exc, ParseException):
            metrics.MALFORMED_REQUESTS.add()
        super().handle_error(req, client, addr, exc)

    # Samples

    def _sample_repeatedly(self) -> None:
        """Sample every `SAMPLE_INTERVAL` seconds; a worker that stops accepts no more connections to the port."""
        app = self.app.wsgi()
        while True:
            due = time.monotonic() + SAMPLE_INTERVAL
            gevent.sleep(SAMPLE_INTERVAL)
            metrics.EVENT_LOOP_LAG.set(max(0.0, time.monotonic() - due))
            metrics.SLOTS_IN_USE.set(POOL_SIZE - self.slots.counter)
            metrics.SLOT_WAITING.set(self.slots.waiting)
            if isinstance(app, Flask) and "sqlalchemy" in app.extensions:
                self._sample_database(app)
            metrics.WORKERS.set(time.time())
            if not self.alive and self._endpoint is not None:
                self._endpoint.close()

    def _sample_database(self, app: Flask) -> None:
        """Sample the pool; once per `PURGE_CHECK_INTERVAL` one of the workers reads what is due for purge."""
        with app.app_context():
            pool: Any = db.engine.pool
        metrics.POOL_IN_USE.set(pool.checkedout())
        metrics.POOL_WAITING.set(pool.waiting)
        common = self.exporter.memory.common
        if time.time() - common[metrics.PURGE_CHECKED_AT] >= PURGE_CHECK_INTERVAL:
            common[metrics.PURGE_CHECKED_AT] = time.time() - PURGE_CHECK_INTERVAL + PURGE_CHECK_TIME
            gevent.spawn(self._read_oldest_due, app)

    def _read_oldest_due(self, app: Flask) -> None:
        """Read how long the oldest row is due for purge; not reported if the database cannot tell in time."""
        seconds = math.nan
        with app.app_context(), suppress(DatabaseUnavailable, DBAPIError):
            seconds = oldest_due_seconds()
        common = self.exporter.memory.common
        common[metrics.PURGE_OLDEST_DUE.first], common[metrics.PURGE_CHECKED_AT] = seconds, time.time()


def _with_route(application: Any) -> Any:
    """Return a WSGI application that stores the endpoint of the matched route in the environ of its request.

    It is read when the response starts: at the end of a request Flask removes its request object from the environ.
    """

    def noting_route(environ: dict[str, Any], start_response: Any) -> Any:
        def start(*response: Any) -> Any:
            request = environ.get("werkzeug.request")
            if request is not None and (rule := request.url_rule) is not None:
                environ[_ROUTE] = rule.endpoint
            return start_response(*response)

        return application(environ, start)

    return noting_route
