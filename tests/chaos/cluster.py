"""A PostgreSQL primary and two synchronous standbys, whose servers a test may stop, kill, freeze and promote."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tests import postgres
from tests.chaos.postgres import running_postgresql
from tests.conftest import dispose_engines, migrate
from tests.ports import reserved_port
from tests.waiting import until

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_sender_timeout": "2s",
    "wal_receiver_timeout": "2s",
    "wal_retrieve_retry_interval": "100ms",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "wal_log_hints": "on",
}

SYNCHRONOUS_STANDBYS = "ANY 1 (a, b, c)"
"""Any node can be the primary: each names all, and its own name is not one of its standbys."""


@dataclass
class Node:
    """A PostgreSQL server of the cluster; `name` is its application_name as a standby."""

    name: str
    port: int
    data: Path
    tools: postgres.Tools
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, as a standby if its data directory says so; return when it accepts connections."""
        options = [f"--{name}={value}" for name, value in {**SETTINGS, "cluster_name": self.name}.items()]
        with (self.data.parent / f"{self.name}.log").open("ab") as log:
            command = [str(self.tools.path("postgres")), "-D", str(self.data), f"--port={self.port}", *options]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.tools.user)
        until(self._accepts_connections, otherwise="PostgreSQL did not start")

    def _accepts_connections(self) -> bool:
        try:
            self.query("SELECT 1")
        except psycopg.OperationalError:
            assert self.is_running, f"PostgreSQL ended: see {self.name}.log"
            return False
        return True

    @property
    def is_running(self) -> bool:
        """True from `start` until the postmaster has ended."""
        return self.process is not None and self.process.poll() is None

    def query(self, statement: str) -> Any:
        """Execute a statement as the superuser on this server; return the first value of its result, None without."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]

    @property
    def dsn(self) -> str:
        """The superuser's connection string of this server."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=2"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server."""
        assert self.process is not None
        for pid in running_postgresql(self.process.pid):
            with suppress(ProcessLookupError):  # it has ended
                os.kill(pid, number)

    def end(self, number: signal.Signals) -> None:
        """Kill all processes (SIGKILL), or stop as `pg_ctl stop -m fast` does (SIGINT); wait until it has ended."""
        if self.process is None:
            return
        if number == signal.SIGKILL:
            self.signal(number)
        elif self.is_running:
            self.process.send_signal(number)
        self.process.wait(60)


class Cluster:
    """The nodes, of which one is the primary; `url` names all of them, for the role of the service."""

    def __init__(self, nodes: Sequence[Node], database: str) -> None:
        self.nodes, self.primary = nodes, nodes[0]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        role = postgres.SERVICE
        self.url = f"postgresql://{role}:{role}@{hosts}/{database}?target_session_attrs=read-write"

    @property
    def standbys(self) -> list[Node]:
        """The running nodes that are not the primary."""
        return [node for node in self.nodes if node is not self.primary and node.is_running]

    def promote(self) -> float:
        """Promote the standby that has received most; return the time (monotonic) at which it accepts writes.

        With `ANY 1` an acknowledged write is on at least one of them, and so on that one. First waits until both have
        received what a frozen primary had sent: otherwise the other one may be ahead later, and cannot follow.
        """
        received = self._received()
        while (later := self._received(after=0.2)) != received:
            received = later
        standbys = self.standbys
        chosen = max(standbys, key=lambda node: received[node.name])
        assert chosen.query("SELECT pg_promote(true, 60)")
        self.primary, promoted = chosen, time.monotonic()
        for node in standbys:
            if node is chosen:
                continue
            node.query(f"ALTER SYSTEM SET primary_conninfo = '{self._source(node)}'")
            node.query("SELECT pg_reload_conf()")
        return promoted

    def _source(self, node: Node) -> str:
        """Return the connection string of a standby to the primary.

        Not one of all hosts: PostgreSQL's WAL receiver ignores connect_timeout, and would wait for a frozen one.
        """
        return f"host=127.0.0.1 port={self.primary.port} user=postgres application_name={node.name}"

    def _received(self, *, after: float = 0) -> dict[str, int]:
        """Return how many bytes of the write-ahead log each standby has received, `after` seconds from now."""
        time.sleep(after)
        position = "SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn"
        return {node.name: int(node.query(position)) for node in self.standbys}

    def rejoin(self, node: Node) -> None:
        """Make a former node that has ended a standby of the primary, with a new copy of its data."""
        shutil.rmtree(node.data)
        node.tools.run("pg_basebackup", "--no-sync", "-D", str(node.data), "-d", self.primary.dsn, "-R", "-c", "fast")
        with (node.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{self._source(node)}'\n")
            settings.write(f"synchronous_standby_names = '{SYNCHRONOUS_STANDBYS}'\n")
        node.start()

    def await_standbys(self, count: int) -> None:
        """Wait until the primary streams to `count` standbys."""
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        until(lambda: self.primary.query(streaming) == count, otherwise=f"no {count} standbys")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a primary and two synchronous standbys with a migrated database until the context ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskapi-cluster-")))
        tools = postgres.tools(folder)
        ports = [stack.enter_context(reserved_port()) for _ in "abc"]
        nodes = [Node(name, port, folder / name, tools) for name, port in zip("abc", ports, strict=True)]
        tools.run("initdb", "--no-sync", "-D", str(nodes[0].data), "-U", "postgres", "--auth=trust", "--encoding=utf8")
        for node in nodes:
            stack.callback(node.end, signal.SIGKILL)
        nodes[0].start()
        server_url = f"postgresql://postgres@127.0.0.1:{nodes[0].port}/postgres"
        stack.enter_context(suppress(DBAPIError))  # the connection for DROP DATABASE ends with the first primary
        url = stack.enter_context(postgres.new_database(server_url))
        migrate(url)
        dispose_engines(url)
        made = Cluster(nodes, str(make_url(url).database))
        for node in nodes[1:]:
            node.data.mkdir()
            made.rejoin(node)
        made.await_standbys(2)
        nodes[0].query(f"ALTER SYSTEM SET synchronous_standby_names = '{SYNCHRONOUS_STANDBYS}'")
        nodes[0].query("SELECT pg_reload_conf()")
        yield made
