"""Distribute a migrated PostgreSQL database with Citus, by `user_id`: the command `flask distribute`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from psycopg.errors import DeadlockDetected
from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from . import citus, policies
from .base import Base
from .engine import owner_engine

R = TypeVar("R")

LOCK_TIMEOUT = "4s"
"""Longest wait for a lock: requests queue behind it, so the command fails after that and can be repeated."""


ATTEMPTS = 10
"""Attempts after a deadlock with a request of the running service."""

_NODES = (
    "SELECT count(DISTINCT groupid) FROM pg_dist_placement JOIN pg_dist_shard USING (shardid)"
    " WHERE logicalrelid = to_regclass('users')"
)
"""The number of nodes that hold rows of users."""


class CannotDistribute(Exception):
    """The database cannot be distributed; the message says why, and what to do."""


@dataclass(frozen=True)
class Distribution:
    """What `distribute` has done: the tables that it converted, and the number of nodes that hold shards."""

    converted: list[str]
    nodes: int


def distribute(url: URL, service_role: str, shards: int) -> Distribution:
    """Convert every table, with its rows, in one transaction; those that are distributed already stay as they are.

    `url` has the role that owns the tables, `shards` is the number of parts of each table. Raises `CannotDistribute`
    and DBAPIError; then nothing was changed. Writes wait meanwhile.
    """
    engine = owner_engine(url, LOCK_TIMEOUT)

    def convert(connection: Connection) -> Distribution:
        _require_citus(connection)
        _require_roles(connection, service_role)
        return Distribution(_convert(connection, shards), _scalar(connection, _NODES))

    done = _in_transaction(engine, convert)
    for table in Base.metadata.tables:  # also those of a run that failed here
        # The rows as they were before: copied to the shards, and no longer visible.
        _in_transaction(
            engine, partial(_scalar, query=f"SELECT truncate_local_data_after_distributing_table('{table}')")
        )
    engine.dispose()
    return done


def _in_transaction(engine: Engine, work: Callable[[Connection], R]) -> R:
    """Run `work` in a transaction; again after a deadlock with a request, up to `ATTEMPTS` times."""
    for _ in range(1, ATTEMPTS):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            # The request holds the lock of another table than we do, and waits for ours.
            if not isinstance(error.orig, DeadlockDetected):
                raise
    with engine.begin() as connection:
        return work(connection)


def _require_citus(connection: Connection) -> None:
    """Raise `CannotDistribute` without the extension."""
    if not _scalar(connection, "SELECT count(*) FROM pg_extension WHERE extname = 'citus'"):
        raise CannotDistribute(
            "this database has no Citus. Add citus to shared_preload_libraries on all nodes, and run"
            " CREATE EXTENSION citus as a superuser (docs/operations.md, Distribute with Citus)"
        )


def _require_roles(connection: Connection, service_role: str) -> None:
    """Raise `CannotDistribute` if a role is missing on a node, or is the same for the service and for the tables."""
    names = {service_role, str(_scalar(connection, "SELECT current_user"))}
    if len(names) == 1:
        raise CannotDistribute(
            "the service uses the role that owns the tables, to which row-level security does not apply with Citus: set"
            " MIGRATION_DATABASE_URL to a role of its own (docs/operations.md, Database)"
        )
    listed = ", ".join(sorted(names))
    query = "SELECT format('SELECT count(*) FROM pg_roles WHERE rolname = ANY (%L)', CAST(:names AS text[]))"
    command = connection.execute(text(query), {"names": sorted(names)}).scalar_one()
    for success, result in connection.execute(
        text("SELECT success, result FROM run_command_on_workers(:command)"), {"command": command}
    ):
        if not success:
            raise CannotDistribute(f"a node does not accept the coordinator: {result}")
        if int(result) < len(names):
            raise CannotDistribute(f"a node lacks one of the roles {listed}: create them on all nodes")


def _convert(connection: Connection, shards: int) -> list[str]:
    """Distribute the tables that are not, `users` first, and create the function; return the names of the tables."""
    done = set(connection.execute(text("SELECT table_name::text FROM citus_tables")).scalars())
    names = sorted(Base.metadata.tables, key=lambda name: (name != "users", name))
    todo = [name for name in names if name not in done]
    if todo or not policies.is_distributed(connection):
        connection.execute(text(citus.CREATE_SET_CONFIG))
    # In the order of requests, so that a deadlock with one of them is rare.
    for name in sorted(todo, key=lambda name: (name != "idempotency_keys", name != "users", name)):
        connection.execute(text(f"LOCK TABLE {name}"))
    for name in todo:
        for statement in policies.conversion(name, shards):
            connection.exec_driver_sql(statement)
    return todo


def _scalar(connection: Connection, query: str) -> Any:
    """Return the only value of a query's result."""
    return connection.exec_driver_sql(query).scalar_one()
