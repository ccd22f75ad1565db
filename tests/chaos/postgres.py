"""A PostgreSQL of a test's own, whose processes it may stop, kill and freeze."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from tests.conftest import close, migrate
from tests.postgres import new_database, server, start
from tests.waiting import until


class PostgreSQL:
    """One instance: the postmaster and all that it forked."""

    def __init__(self, server: Any, url: str) -> None:
        self._server = server
        self.url = url
        """A migrated database there, for the role that serves."""

    def processes(self) -> list[int]:
        """The postmaster first: stopped or killed first, it starts no new backend meanwhile."""
        postmaster: int = self._server.get_pid()
        try:
            forked = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [postmaster, *map(int, forked)]

    def signal(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):  # it ended by itself
                os.kill(pid, number)

    def kill(self) -> None:
        """As a power cut ends it, but for what the disk loses."""
        killed = self.processes()
        self.signal(signal.SIGKILL)
        until(lambda: not any(map(_runs, killed)), otherwise="PostgreSQL was not killed")

    def stop(self) -> None:
        """As an operator who does not wait for the clients: `pg_ctl stop -m fast`."""
        ending = self.processes()
        os.kill(ending[0], signal.SIGINT)
        until(lambda: not any(map(_runs, ending)), otherwise="PostgreSQL did not stop")

    def start(self) -> None:
        """Come back at the same address, after a recovery if that is needed; returns when it takes connections."""
        start(self._server.ensure_postgres_running)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    # The wheel keeps a lock file there and warns where the variable is missing, as in a container.
    with tempfile.TemporaryDirectory(prefix="taskapi-faults-") as folder, pytest.MonkeyPatch.context() as patch:
        runtime = Path(folder) / "runtime"
        runtime.mkdir(mode=0o700)
        if "XDG_RUNTIME_DIR" not in os.environ:
            patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with (
            server(Path(folder) / "data") as running,
            # The connection over which it would be dropped may have died with the server; all of it goes anyway.
            suppress(DBAPIError),
            new_database(running.get_uri()) as url,
        ):
            instance = PostgreSQL(running, url)
            migrate(url)
            close(url)
            try:
                yield instance
            finally:
                instance.signal(signal.SIGCONT)
                if not instance.processes():
                    instance.start()  # for those who began with it to end with it


def _runs(pid: int) -> bool:
    # A zombie too: until it is reaped, a new server takes it for the old one.
    return Path(f"/proc/{pid}").exists()
