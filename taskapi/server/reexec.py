"""SIGHUP: load the code and settings on disk, and then replace the workers; the listening sockets stay open.

gunicorn's own reload reads gunicorn.conf.py again in the same process, with the modules that are already loaded: after
a deployment the new workers would run the old application, and a new gunicorn.conf.py that needs new code would end the
master. Here the master executes itself again (same process id, so that systemd and containers notice nothing), if a
check in another process has shown that the new code starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any

_PREVIOUS_WORKERS = "TASKAPI_PREVIOUS_WORKERS"
"""Environment variable: the process ids of the workers that the new code of the master stops."""

_IGNORED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)
"""Signals that would end the process between `exec` and gunicorn's installation of its handlers."""


def when_ready(server: Any) -> None:
    """Handle SIGHUP with `reload`; stop the workers of the code before a reload (hook of the master)."""
    server.handle_hup = partial(reload, server)
    for worker in os.environ.pop(_PREVIOUS_WORKERS, "").split():
        # Still our children, or ended and not waited for: no other process can have the id.
        with suppress(ProcessLookupError):
            os.kill(int(worker), signal.SIGTERM)


def reload(server: Any) -> None:
    """Execute the master again if the code on disk starts; otherwise log that, and change nothing."""
    server.log.info("Hang up: loading the code")
    command, directory = [sys.executable, *sys.orig_argv[1:]], server.START_CTX["cwd"]
    # Without pipes: the problem is written to our own output. The master waits; the workers go on.
    check = subprocess.call([*command, "--check-config"], cwd=directory, env=server.cfg.env_orig)  # noqa: S603  our own
    if check != 0:
        server.log.error("The code on disk does not start: the running code stays. Correct it and send SIGHUP again.")
        return
    if _is_told_to_stop(server):
        return  # the signal is still in the queue; after `exec` it would be lost
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(directory)
    os.execve(sys.executable, command, _environment(server))  # noqa: S606  our own command line


def _is_told_to_stop(server: Any) -> bool:
    """Return True if a signal that stops the master has arrived since SIGHUP; the signals stay in gunicorn's queue."""
    waiting = []
    with suppress(Empty):
        while True:
            waiting.append(server.SIG_QUEUE.get_nowait())
    for number in waiting:
        server.SIG_QUEUE.put(number)
    return not {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}.isdisjoint(waiting)


def _environment(server: Any) -> dict[str, str]:
    """Return the environment of the new code: as at the start, with the sockets and the workers to replace.

    gunicorn takes sockets over from `GUNICORN_PID`, usually its parent; ours counts as a parent that has ended. The
    sockets of `--bind fd://N` get their numbers back, which gunicorn has closed; call this immediately before `exec`.
    """
    environ: dict[str, str] = {**server.cfg.env_orig, _PREVIOUS_WORKERS: " ".join(map(str, server.WORKERS))}
    if exporter := getattr(server, "exporter", None):  # with METRICS_PORT
        environ |= exporter.environment(worker.metrics_slot for worker in server.WORKERS.values())
    if server.systemd:
        return {**environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(server.LISTENERS))}
    numbers = [address for address in server.cfg.address if isinstance(address, int)]
    if numbers:
        for number, listener in zip(numbers, server.LISTENERS, strict=True):
            os.dup2(listener.fileno(), number)
        return environ
    sockets = ",".join(str(listener.fileno()) for listener in server.LISTENERS)
    return {**environ, "GUNICORN_PID": str(os.getpid()), "GUNICORN_FD": sockets}
