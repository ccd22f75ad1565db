"""How gunicorn serves in production: `gunicorn wsgi:app`. Each setting with its reason."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from taskapi.db import POOL_SIZE, forget_connections

# An empty variable counts as absent, as everywhere (gunicorn itself insists on a number in WEB_CONCURRENCY).
bind = f"0.0.0.0:{os.environ.get('PORT') or '8000'}"

# Two processes use both cores of a small machine; set WEB_CONCURRENCY to the number of cores.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# Threads, because a request mostly waits for the database; as many as a worker has connections, so that a request
# that got a thread does not wait again for a connection.
worker_class = "gthread"
threads = POOL_SIZE

# The application is loaded once and its memory shared by the workers; bad configuration stops the master at once
# instead of restarting workers for ever.
preload_app = True

# A worker whose main loop is stuck for this long is replaced. Database work ends by itself well before.
timeout = 30
# How long requests under way may take to finish when the server is told to stop or to reload.
graceful_timeout = 20
# Longer than the idle time of common load balancers (60 s), so that they close first and never into a request.
keepalive = 75

# A worker retires after so many requests, not all at the same moment: a slow leak never becomes an outage.
max_requests = 50_000
max_requests_jitter = 5_000

# A token is 8 KB at most (taskapi/auth/tokens.py); a user id of 255 characters, percent-encoded, and a cursor fit
# into the line.
limit_request_line = 8190
limit_request_field_size = 16_380
limit_request_fields = 64

# Heartbeat files in memory: a busy disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# The path without the query string, and no headers: a token that somebody put into an address is not kept in a log.
accesslog = "-"
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(M)sms %({x-request-id}o)s'
loglevel = os.environ.get("LOG_LEVEL", "info").lower() or "info"


def post_fork(server: Any, worker: Any) -> None:
    """A connection made before the fork would be shared by two processes, who would read each other's answers."""
    forget_connections(worker.app.wsgi())
