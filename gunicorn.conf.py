"""How gunicorn serves in production: `gunicorn wsgi:app`. Each setting with its reason."""

from __future__ import annotations

import gc

from gevent import monkey

# First of all: whatever is imported from here on waits without holding up its whole process. What only the master
# needs stays as it is, so that it minds its signals and workers as ever; the service uses none of that.
monkey.patch_all(os=False, signal=False, subprocess=False, queue=False)

# What is imported stays: no search of it for garbage while it comes, and later it is shared with the workers.
gc.disable()

import os  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

from taskapi.database.engine import discard_inherited_pool  # noqa: E402
from taskapi.operations.health import log_readiness_problems  # noqa: E402
from taskapi.server.protocol import install_fast_http, redact_parse_errors  # noqa: E402
from taskapi.server.worker import ACCESS_LOG_FORMAT, AccessLogger, Worker  # noqa: E402

# An empty variable counts as absent, as everywhere (gunicorn itself insists on a number in WEB_CONCURRENCY).
bind = f"0.0.0.0:{os.environ.get('PORT') or '8000'}"

# Two processes use both cores of a small machine; set WEB_CONCURRENCY to the number of cores.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# gevent: each worker serves many clients at once without a thread for each, so slow clients delay no others
# (taskapi/server/worker.py).
worker_class = Worker

# The application is loaded once and its memory shared by the workers; bad configuration stops the master at once
# instead of restarting workers for ever.
preload_app = True

# A worker whose main loop is stuck for this long is replaced. Database work ends by itself well before.
timeout = 30
# How long requests under way may take to finish when the server is told to stop or to reload.
graceful_timeout = 20
# Longer than the idle time of common load balancers (60 s), so that they close first and never into a request.
keepalive = 75

# Connections a worker holds at the same time, whatever they are at; for the next ones it closes those that are idle for
# longest (taskapi/server/worker.py). With its files they fit into the 1,024 that a process may commonly open.
worker_connections = 900

# A worker retires after so many requests, not all at the same moment: a slow leak never becomes an outage.
max_requests = 50_000
max_requests_jitter = 5_000

# A token is 8 KB at most (taskapi/auth/tokens.py); a user id of 255 characters, percent-encoded, and a cursor fit
# into the line.
limit_request_line = 8190
limit_request_field_size = 16_380
limit_request_fields = 64

# The parser whose limits are tightened (taskapi/server/framing.py), even where gunicorn_h1c is installed.
http_parser = "python"

# Heartbeat files in memory: a busy disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# No header is more than a header: SCRIPT_NAME, from a proxy on this host, would move the whole application.
forwarder_headers = ""

# A token in a place where gunicorn cannot read it must not be quoted.
redact_parse_errors()

# Most of what a request is told, and of what its answer carries, is that of the one before.
install_fast_http()

# A way into the master that nobody uses here.
control_socket_disable = True

accesslog = "-"
access_log_format = ACCESS_LOG_FORMAT
logger_class = AccessLogger
loglevel = os.environ.get("LOG_LEVEL", "info").lower() or "info"


def pre_request(worker: Any, request: Any) -> None:
    """The access log tells of a request, once it is answered."""


def pre_fork(server: Any, worker: Any) -> None:
    """What is there now is no garbage: a worker that searched it would have a copy of its own."""
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """A connection made before the fork would be shared by two processes, who would read each other's answers."""
    gc.enable()
    discard_inherited_pool(worker.app.wsgi())
    worker.told = server.SIG_QUEUE


def post_worker_init(worker: Any) -> None:
    """Let the first worker say in the log what keeps the service from being ready; it starts nevertheless."""
    if worker.age == 1:
        gevent.spawn(log_readiness_problems, worker.app.wsgi())
