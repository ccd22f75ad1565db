"""Prove that row-level security hides the rows of other users, and shows a user's own, by reading rows of a probe.

Where the current user does not reach the rows, as on a node of a Citus cluster that a setting does not reach, every
list would be empty.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import BigInteger, SmallInteger, String, bindparam, column, func, select, table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from .base import db
from .citus import SET_CONFIG
from .failures import DatabaseUnavailable, configuration_problem
from .prepared import Prepared
from .transactions import execute, fetch, reads, rows, writes
from .write_limits import COMMITS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """A reserved user: no token has such an id, because it begins with a control character (auth/claims.py)."""

    id: str


NO_ROW = Probe("\n")
"""A probe whose row is never inserted."""

HIDES_NOTHING = "Row-level security does not hide the rows of other users"
SHOWS_NOTHING = "Row-level security hides a user's own rows, so that every list would be empty"
NO_RIGHTS = "The role of the service has no rights on the tables: run `flask db upgrade` with MIGRATION_DATABASE_URL"

_NODES = (
    "SELECT DISTINCT ON (groupid) nodename || ':' || nodeport AS node, chr(10) || number AS probe"
    " FROM generate_series(0, 511) AS number"
    " JOIN pg_dist_placement ON shardid = get_shard_id_for_distribution_column('users', chr(10) || number)"
    " JOIN pg_dist_node USING (groupid) WHERE noderole = 'primary' ORDER BY groupid, number"
)
"""Each node of a Citus cluster that holds rows of users, and the id of a probe whose row is there."""

_USERS = table(
    "users",
    *(column("user_id", String), column("epoch", String), column("folding", SmallInteger)),
    *(column("revision", BigInteger), column("last_task_id", BigInteger)),
)

_ROW = Prepared(select(_USERS.c.user_id).where(_USERS.c.user_id == bindparam("probe", type_=String)))

_NEVER_REFOLDED = 32767
"""`folding` of the row of a probe: `flask purge` has nothing to do with it."""


def probe_problem() -> str | None:
    """Read the row of a probe as the probe and as another user, on each node; return why one does not work, or None.

    The statements are sent as those of requests. Inserts the row at the first check. None on SQLite. With Citus a node
    that is unavailable is logged only, because the users of the others are served. Raises `DatabaseUnavailable`.
    """
    if db.engine.dialect.name != "postgresql":
        return None
    probes = _probes()
    failures: list[DatabaseUnavailable] = []
    for node, probe in probes:
        try:
            if problem := _problem_of(probe):
                return f"{problem}. See docs/operations.md."
        except DatabaseUnavailable as error:
            if configuration_problem(error):
                raise
            log.warning("the database node %s is unavailable: %s", node, str(error).partition("\n")[0])
            failures.append(error)
    if failures and len(failures) == len(probes):
        raise failures[0]
    return None


def _probes() -> Sequence[tuple[str, Probe]]:
    """Return the nodes that hold rows of users, each with a probe of its own; one on plain PostgreSQL."""
    if rows(select(func.to_regprocedure(SET_CONFIG)))[0][0] is None:
        return [("", Probe("\n0"))]
    return [(row.node, Probe(row.probe)) for row in rows(text(_NODES))]


def _problem_of(probe: Probe) -> str | None:
    """Return why row-level security does not show the row of a probe to the probe only, or None."""
    try:
        if not _can_read(probe, probe) and _insert_if_writes_work(probe) and not _can_read(probe, probe):
            return SHOWS_NOTHING
        return HIDES_NOTHING if _can_read(NO_ROW, probe) else None
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, InsufficientPrivilege):
            raise
        return SHOWS_NOTHING if "row-level security" in str(cause) else NO_RIGHTS


@reads
def _can_read(_user: Any, probe: Probe) -> bool:
    """Return True if the statement for the row of a probe finds it."""
    return bool(fetch(_ROW(probe=probe.id))[0])


def _insert_if_writes_work(probe: Probe) -> bool:
    """Insert the row of a probe; return False if commits wait for a synchronous standby: reads are served meanwhile."""
    try:
        _insert(probe)
    except DatabaseUnavailable:
        if COMMITS.is_suspicious:
            return False
        raise
    return True


@writes
def _insert(probe: Probe) -> None:
    """Insert the row of a probe, unless another process does."""
    counters = {"revision": 0, "last_task_id": 0, "epoch": "", "folding": _NEVER_REFOLDED}
    execute(postgresql.insert(_USERS).values(user_id=probe.id, **counters).on_conflict_do_nothing())
