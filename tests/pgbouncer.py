"""PgBouncer, a pooler between the service and PostgreSQL, in a process of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.ports import reserved_port
from tests.waiting import until

BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

SERVERS = 3
"""Connections to PostgreSQL of a user: fewer than those of a worker, so that its transactions change between them."""


def require_pgbouncer() -> None:
    """Skip the test if PgBouncer is not installed; with CI set that is a failure."""
    if BINARY is None:
        assert not os.environ.get("CI"), "pgbouncer is missing: the service behind a pooler was not tested"
        pytest.skip("pgbouncer is not installed: the service behind a pooler is not tested")


class PgBouncer:
    """A running PgBouncer: `url` is that of the database through it, with the role of the service; `pid` its process."""

    def __init__(self, port: int, url: str, log: Path, pid: int) -> None:
        self._port, self._log, self.url, self.pid = port, log, url, pid

    def logins(self) -> int:
        """Return how many times a client has logged in: its connections and reconnections."""
        return self._log.read_text().count("login attempt: ")

    def show(self, what: str) -> list[dict[str, Any]]:
        """Return the rows of a SHOW command of its console."""
        with psycopg.connect(
            host="127.0.0.1", port=self._port, user="console", dbname="pgbouncer", autocommit=True
        ) as connection:
            cursor = psycopg.ClientCursor(connection)  # the console does not know the extended protocol
            cursor.execute(f"SHOW {what}".encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def pgbouncer(database_url: str, pool_mode: str, **settings: str) -> Iterator[PgBouncer]:
    """Run PgBouncer in front of the database of a URL, with further settings of its configuration."""
    require_pgbouncer()
    url = make_url(database_url)
    with tempfile.TemporaryDirectory(prefix="taskapi-pgbouncer-") as name, reserved_port() as port:
        folder = Path(name)
        folder.chmod(0o777)
        log, users, file = folder / "log", folder / "users", folder / "ini"
        users.write_text("".join(f'"{role}" "{role}"\n' for role in ("taskapi_service", "taskapi_owner", "console")))
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(users),
            "admin_users": "console",
            "pool_mode": pool_mode,
            "default_pool_size": str(SERVERS),
            "logfile": str(log),
            **settings,
        }
        host, server_port = url.query.get("host", url.host), url.query.get("port", url.port or 5432)
        database = f"host={host} port={server_port} dbname={url.database}"
        file.write_text(
            f"[databases]\n{url.database} = {database}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in options.items())
        )
        process = subprocess.Popen([str(BINARY), "-q", str(file)], **_other_user(str(host)))
        try:
            until(lambda: _answers(port) or process.poll() is not None, otherwise="PgBouncer did not start")
            made = url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
            yield PgBouncer(port, made, log, process.pid)
        finally:
            process.kill()
            process.wait()


def _other_user(host: str) -> dict[str, Any]:
    """Return arguments of Popen: PgBouncer refuses to run as root, and only the server's user reaches its socket."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
