"""gunicorn server hooks and settings that need code; every worker class may run with them (gunicorn.conf.py)."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey

from ..database.engine import discard_inherited_pool
from ..http import observation
from ..operations.health import log_readiness_problems
from ..telemetry.log_format import handle_hub_error
from .access_log import JsonLogger

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a memory file system, not a predictable name in a shared directory


def heartbeat_directory() -> str | None:
    """Return a directory in memory for the workers' heartbeat files; None, gunicorn's default, if there is none."""
    return str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None


def pre_request(worker: Any, request: Any) -> None:
    """Do nothing: gunicorn's default logs the request's path at debug level, and the access log has it anyway."""


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Exempt all current objects from garbage collection: a worker that visited them would copy shared memory pages."""
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """Prepare a forked worker: garbage collection, cooperative queues, an empty pool, the queue of signals.

    A database connection made before the fork would be shared by processes that read each other's results.
    """
    gc.enable()
    # ThreadPoolExecutor of the gthread worker: its threads are greenlets here, which a C queue would all block. The
    # master keeps the C queue, because its signal handlers write into it.
    monkey.patch_queue()
    discard_inherited_pool(worker.app.wsgi())
    worker.inherited_signals = server.SIG_QUEUE
    if isinstance(server.log, JsonLogger):
        gevent.get_hub().handle_error = handle_hub_error


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Export the last spans. gunicorn also calls this in the master, for a worker that is gone, which has none."""
    observation.stop(worker.app.wsgi())


def post_worker_init(worker: Any) -> None:
    """Log in the first worker, in a greenlet, what keeps the service from being ready; it starts nevertheless."""
    if worker.age == 1:
        gevent.spawn(log_readiness_problems, worker.app.wsgi())
