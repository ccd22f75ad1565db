"""Production settings of gunicorn, each with its reason: `gunicorn wsgi:app` reads this file."""

from __future__ import annotations

import gc

from gevent import monkey

# Before all other imports, which then use cooperative sockets, locks and sleeps. os, signal, subprocess and queue stay
# as they are: the master uses them for its workers and signals, and the service does not.
monkey.patch_all(os=False, signal=False, subprocess=False, queue=False)

# No collection during the imports: what they allocate stays, and is shared with the workers (hooks.pre_fork).
gc.disable()

import os  # noqa: E402

from taskapi.server import access_log, addresses, hooks, reexec, settings, worker  # noqa: E402

# WEB_CONCURRENCY, PORT, LOG_LEVEL and LOG_FORMAT. An invalid one is one line in the terminal, and not a traceback.
environment = settings.from_env_or_exit(os.environ)

# IPv6 and IPv4, because `localhost` and the names of containers may resolve to either.
bind = addresses.listen_addresses(environment.port)

# Two processes use both cores of a small machine; set WEB_CONCURRENCY to the number of cores.
workers = environment.workers

# gevent: each worker serves many clients at once without a thread for each, so slow clients delay no others
# (taskapi/server/worker.py). gunicorn's own worker classes (`-k`) serve correctly too, with fewer limits.
worker_class = worker.Worker

# The application is loaded once and its memory shared by the workers; bad configuration stops the master at once
# instead of restarting workers endlessly.
preload_app = True

# A worker whose main loop is stuck for this long is replaced. Database work ends by itself well before.
timeout = 30
# Seconds that running requests may take to finish when the server stops or reloads.
graceful_timeout = 20
# Longer than the idle time of common load balancers (60 s), so that they close first and never while a request arrives.
keepalive = 75

# Connections of a worker, idle and busy; a full worker closes those that are idle for longest (worker.py). With its
# other files they fit into the 1,024 that a process may commonly open.
worker_connections = 900

# A worker is replaced after this many requests, not all at the same moment: a slow leak never becomes an outage.
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
worker_tmp_dir = hooks.heartbeat_directory()

# No header is more than a header: SCRIPT_NAME, from a proxy on this host, would move the whole application. The path
# prefix of a proxy has rules of its own (taskapi/http/path_prefix.py).
forwarder_headers = ""

# No URL of a response has a scheme, so X-Forwarded-Proto and others like it are not read: gunicorn would refuse all
# requests of a chain of proxies on this host that disagree about it.
secure_scheme_headers: dict[str, str] = {}

# The control socket would be a second way to control the master, which is not used here.
control_socket_disable = True

accesslog = "-"
access_log_format = access_log.ACCESS_LOG_FORMAT
logger_class = access_log.JsonLogger if environment.log_format == "json" else access_log.AccessLogger
loglevel = environment.log_level

# SIGHUP loads new code, which gunicorn's own reload does not (taskapi/server/reexec.py).
when_ready = reexec.when_ready
pre_request = hooks.pre_request
pre_fork = hooks.pre_fork
post_fork = hooks.post_fork
post_worker_init = hooks.post_worker_init
worker_exit = hooks.worker_exit

# With METRICS_PORT the workers count requests, and serve the metrics of all of them on a port that is not public.
if environment.metrics_port:
    from taskapi.server import metrics_hooks

    globals().update(metrics_hooks.settings(environment.metrics_host, environment.metrics_port))
