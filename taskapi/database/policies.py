"""Row-level security policies of a table: those of plain PostgreSQL, and those of a database distributed with Citus.

For `flask distribute`, and for migrations that create a table. See migrations/versions/0005_row_level_security.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Connection, text

from . import citus

JOBS: dict[str, Sequence[str]] = {
    "users": ("purge",),
    "tasks": ("purge",),
    "idempotency_keys": ("purge",),
    "ended_sessions": ("purge", "sign-outs"),
    "seen_notices": ("purge",),
}
"""By table: the jobs that may read the rows of all users."""

REFERENCE_TABLES = frozenset({"ended_sessions"})
"""Tables that Citus copies to each node. All workers of the service read the log of sign-outs, with each request of a
token with a session: on one node it would make all of them depend on that node."""

Condition = Callable[..., str]
"""A function that returns the condition of a policy, for the jobs that may read the table."""

_KINDS = {"shown": "SELECT", "added": "INSERT", "changed": "UPDATE", "removed": "DELETE"}


def protect(connection: Connection, table: str) -> None:
    """Enable row-level security on a new table (nothing on SQLite); distribute the table if the database is.

    A migration that creates a table calls this with `op.get_bind()`. A table that jobs read needs an entry in `JOBS`.
    """
    if connection.dialect.name != "postgresql":
        return
    distributed = is_distributed(connection)
    condition = citus.policy_condition if distributed else plain_condition
    for name, kind in _KINDS.items():
        connection.execute(text(f"CREATE POLICY {name} ON {table} FOR {kind} {clauses(table, name, condition)}"))
    connection.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
    # On plain PostgreSQL the policies are for the owner of the table as well: see `conversion`.
    last = create_distributed(table) if distributed else f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    connection.execute(text(last))


def is_distributed(connection: Connection) -> bool:
    """Return True if `flask distribute` has converted the database."""
    return bool(connection.execute(text("SELECT to_regprocedure(:name)"), {"name": citus.SET_CONFIG}).scalar())


def conversion(table: str, shards: int) -> Iterator[str]:
    """Yield the statements that distribute an existing table with its rows, and give it the policies for that."""
    for name in _KINDS:
        yield f"ALTER POLICY {name} ON {table} {clauses(table, name, citus.policy_condition)}"
    # Citus copies rows, and later shards, as the owner of the table, to whom FORCE would apply the policies. That of
    # the service is another (distribution.py).
    yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
    yield create_distributed(table, shards)


def create_distributed(table: str, shards: int = 0) -> str:
    """Return the statement that distributes a table by `user_id`, with the rows of a user on one node with all others.

    `shards` is the number of parts of the table `users`; the other tables have the same parts.
    """
    if table in REFERENCE_TABLES:
        return f"SELECT create_reference_table('{table}')"
    placed = f"colocate_with := 'none', shard_count := {shards}" if table == "users" else "colocate_with := 'users'"
    return f"SELECT create_distributed_table('{table}', 'user_id', {placed})"


def clauses(table: str, name: str, condition: Condition) -> str:
    """Return the USING and WITH CHECK of a policy."""
    mine = f"({condition()})"
    return {
        "shown": f"USING ({condition(JOBS.get(table, ()))})",
        "added": f"WITH CHECK {mine}",
        "changed": f"USING {mine} WITH CHECK {mine}",
        "removed": f"USING {mine}",
    }[name]


def plain_condition(jobs: Sequence[str] = ()) -> str:
    """Return the condition of a policy on plain PostgreSQL, as in migration 0005: subqueries are evaluated once."""
    mine = "user_id = (SELECT nullif(current_setting('taskapi.user_id', true), ''))"
    if not jobs:
        return mine
    # CASE instead of OR: with OR the planner expects almost no rows, and sorts them instead of reading an index.
    names = ", ".join(f"'{job}'" for job in jobs)
    return f"CASE WHEN {mine} THEN true ELSE (SELECT current_setting('taskapi.job', true)) IN ({names}) END"
