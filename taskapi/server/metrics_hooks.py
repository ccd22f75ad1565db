"""gunicorn settings and hooks of a service with METRICS_PORT; gunicorn.conf.py imports this module only then."""

from __future__ import annotations

import os
import sys
from typing import Any

from flask import Flask

from ..telemetry import metrics
from . import hooks
from .measured_worker import MeasuredWorker
from .metrics_endpoint import Exporter


def settings(host: str, port: int) -> dict[str, Any]:
    """Return the gunicorn settings with which the workers count, and serve their metrics at this address."""

    def on_starting(server: Any) -> None:
        start(server, host, port)

    return {
        "worker_class": MeasuredWorker,
        "on_starting": on_starting,
        "pre_fork": pre_fork,
        "post_fork": post_fork,
    }


def start(server: Any, host: str, port: int) -> None:
    """Declare the routes, allocate the shared memory, and open the port (in the master, at its start).

    Exits if the port cannot be opened, as gunicorn does for its own. A master that replaces another one (USR2) runs
    beside it for a while; it opens the port at its next reload.
    """
    server.exporter = None
    if not issubclass(server.worker_class, MeasuredWorker):
        server.log.warning("METRICS_PORT is ignored: the workers of `-k` do not count requests")
        return
    app = server.app.wsgi()
    rules = app.url_map.iter_rules() if isinstance(app, Flask) else ()
    metrics.REQUESTS.set_routes((rule.endpoint, method) for rule in rules for method in rule.methods or ())
    server.exporter = Exporter(host, port, server.cfg.workers)
    try:
        server.exporter.listen()
    except OSError as error:
        problem = f"METRICS_PORT: cannot listen on {host} port {port}: {error.strerror}"
        if "GUNICORN_PID" not in os.environ:
            sys.exit(f"taskapi cannot start:\n  - {problem}")
        server.log.warning("%s; send HUP when the old master has ended", problem)


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker a slot of the shared memory that no running worker has."""
    worker.exporter = exporter = server.exporter
    if exporter:
        worker.metrics_slot = exporter.free_slot(other.metrics_slot for other in server.WORKERS.values())
    hooks.pre_fork(server, worker)


def post_fork(server: Any, worker: Any) -> None:
    """Let the worker count in its slot. Without one, which is logged, its numbers are missing from the metrics."""
    hooks.post_fork(server, worker)
    if not worker.exporter:
        return
    if worker.metrics_slot is None:
        worker.log.error("metrics: there are more workers than slots of shared memory; this one is not counted")
    else:
        metrics.attach(worker.exporter.memory, worker.metrics_slot)
