"""Databases of their own on a Citus cluster: on the coordinator and on each worker, with the roles of production."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from tests.postgres import OWNER, SERVICE

_numbers = count(1)


@dataclass
class Cluster:
    """A database on all nodes of a cluster; `url` has the superuser on the coordinator."""

    url: URL
    workers: Sequence[URL]
    _engines: dict[URL, Engine] = field(default_factory=dict)

    def url_of(self, role: str) -> str:
        """Return the URL of the coordinator for a role."""
        return self.url.set(username=role, password=role).render_as_string(hide_password=False)

    def sql(self, statement: str, node: URL | None = None, **values: Any) -> Sequence[Any]:
        """Execute a statement as the superuser, on the coordinator or on another node; return its rows."""
        url = node or self.url
        if url not in self._engines:
            self._engines[url] = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        with self._engines[url].connect() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []

    def dispose(self) -> None:
        """Close the connections of `sql`."""
        for engine in self._engines.values():
            engine.dispose()

    def worker_of(self, user: str) -> URL:
        """Return the worker that holds the rows of a user."""
        ((port,),) = self.sql(
            "SELECT nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid)"
            " WHERE shardid = get_shard_id_for_distribution_column('users', CAST(:user AS text))",
            user=user,
        )
        return next(worker for worker in self.workers if worker.port == port)

    def user_on(self, worker: URL, *, but: Sequence[str] = ()) -> str:
        """Return a user whose rows a worker holds."""
        names = (f"person-{number}" for number in count())
        return next(name for name in names if name not in but and self.worker_of(name) == worker)

    @contextmanager
    def without(self, worker: URL) -> Iterator[None]:
        """Let a worker refuse all connections to the database, and end those that there are."""
        database = self.url.database
        server = worker.set(database="postgres")
        self.sql(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false", server)
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name", server, name=database)
        try:
            yield
        finally:
            self.sql(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true", server)


@contextmanager
def new_database(cluster_url: str) -> Iterator[Cluster]:
    """Create an empty database with Citus on all nodes of the cluster, dropped at the end."""
    url = make_url(cluster_url).set(drivername="postgresql+psycopg")
    name = f"taskapi_citus_{next(_numbers)}"
    with ExitStack() as stack:
        servers = Cluster(url, ())
        stack.callback(servers.dispose)
        nodes = servers.sql("SELECT nodename, nodeport, groupid FROM pg_dist_node WHERE noderole = 'primary'")
        addresses = [(row.nodename, row.nodeport) for row in nodes if row.groupid]
        assert len(addresses) > 1, "the tests need a cluster with two workers or more"
        servers = Cluster(url, [url.set(host=host, port=port, database="postgres") for host, port in addresses])
        stack.callback(servers.dispose)
        every = [url, *servers.workers]
        for node in every:
            for role in (OWNER, SERVICE):
                with suppress(ProgrammingError):  # it exists
                    servers.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'", node)
            servers.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", node)
            servers.sql(f"CREATE DATABASE {name} OWNER {OWNER}", node)
            stack.callback(servers.sql, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", node)
        cluster = Cluster(url.set(database=name), [worker.set(database=name) for worker in servers.workers])
        stack.callback(cluster.dispose)
        for node in (cluster.url, *cluster.workers):
            cluster.sql("CREATE EXTENSION citus", node)
        (coordinator,) = (row for row in nodes if not row.groupid)
        cluster.sql(f"SELECT citus_set_coordinator_host('{coordinator.nodename}', {coordinator.nodeport})")
        for host, port in addresses:
            cluster.sql(f"SELECT citus_add_node('{host}', {port})")
        yield cluster
