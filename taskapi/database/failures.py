"""Errors of databases: which to retry, which mean that the database is unavailable (503), and what operators read."""

from __future__ import annotations

import re

import psycopg
from psycopg.errors import ConnectionTimeout, OperationalError
from sqlalchemy.exc import DBAPIError

from . import sqlite_errors
from .citus import UNKNOWN_USER

ATTEMPTS = 4
"""Attempts of a unit of work, the first included, before a retryable error is raised."""

RETRYABLE = frozenset({"40001", "40P01", "26000", "42P05"})
"""SQLSTATEs that a second attempt resolves: serialization_failure and deadlock_detected (PostgreSQL manual, 13.5), and
invalid_sql_statement_name and duplicate_prepared_statement, after which nothing was executed (`Pooling`)."""

RETRY_REASONS = {"40001": "serialization", "40P01": "deadlock", "26000": "lost_statement", "42P05": "lost_statement"}
"""Why a unit of work is repeated, by SQLSTATE, for the metrics; without one the connection was lost."""

UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE classes: connection exception, insufficient resources, operator intervention, system error."""

UNAVAILABLE_STATES = frozenset({"55P03", "57014", "25006"})
"""lock_not_available, query_canceled (our timeout), read_only_sql_transaction (a standby)."""


_CONFIGURATION_PROBLEMS = {
    "statement pooling mode": "The pooler in front of the database is in statement mode, which allows no transactions:"
    " set its pool_mode to transaction (docs/operations.md, Poolers).",
    r'FATAL: .*(role|database) ".*" does not exist|authentication failed|no pg_hba.conf entry|permitted to log in': (
        "PostgreSQL, or a node of its Citus cluster, refuses the role, the password or the name of the database in"
        " DATABASE_URL (docs/operations.md, Database)."
    ),
    re.escape(UNKNOWN_USER): "The current user does not reach a node of the Citus cluster, so that no row of it can be"
    " read: run `flask distribute` again (docs/operations.md, Distribute with Citus).",
}
"""By what PostgreSQL, PgBouncer or Citus says: what an operator has to correct."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached or cannot serve now, although the request is valid: 503.

    `uncertain` is True if the connection was lost during COMMIT, so the write may or may not be committed.
    """

    def __init__(self, reason: str, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.uncertain = uncertain


def sqlstate(cause: BaseException | None) -> str | None:
    """Return the SQLSTATE of a psycopg error; None for other exceptions, and without a response of the server."""
    return getattr(cause, "sqlstate", None)


def is_unavailable(cause: BaseException | None) -> bool:
    """Return True if a psycopg error means that the server cannot be reached or cannot serve now; else False."""
    state = sqlstate(cause)
    if state is None:
        # psycopg raises these without a SQLSTATE when it has no connection to a server.
        return type(cause) in (OperationalError, ConnectionTimeout)
    return state.startswith(UNAVAILABLE_CLASSES) or state in UNAVAILABLE_STATES or is_user_unknown(cause)


def is_user_unknown(cause: BaseException | None) -> bool:
    """Return True if the current user has not reached a node of a distributed database (`citus.policy_condition`)."""
    return sqlstate(cause) == "42704" and UNKNOWN_USER in str(cause)


def is_defect(cause: BaseException | None) -> bool:
    """Return True if the server refused a statement for another reason than its state: a defect of the code (500).

    The severity is ERROR: the session goes on, and if the connection is closed nevertheless, we have closed it. A
    server that ends the session itself sends FATAL.
    """
    return (
        isinstance(cause, psycopg.Error) and cause.diag.severity_nonlocalized == "ERROR" and not is_unavailable(cause)
    )


def configuration_problem(error: DatabaseUnavailable) -> str | None:
    """Return what an operator has to correct if the database refuses us for our settings; None if it is just away.

    It names no role, host or database: /readyz shows it.
    """
    found = (problem for said, problem in _CONFIGURATION_PROBLEMS.items() if re.search(said, str(error)))
    return next(found, None)


def operator_message(error: BaseException) -> str | None:
    """Return one line for the operator of a command: the reason, without values of rows, and what to do.

    None for an error that is not about the database's availability or rights: a defect of the code.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The lines after the first one may quote values (DETAIL, CONTEXT).
    reason = str(cause).partition("\n")[0].strip().rstrip(".")
    if sqlstate(cause) in ("55P03", "57014", "40P01") or sqlite_errors.is_busy(error):
        return f"the database is busy: {reason}. Repeat the command."
    if isinstance(error, DatabaseUnavailable) or is_unavailable(cause) or sqlite_errors.is_unavailable(error):
        return f"the database cannot be used: {reason}. Correct DATABASE_URL or MIGRATION_DATABASE_URL, or start it."
    if sqlstate(cause) == "42501":
        return f"{reason}. Set MIGRATION_DATABASE_URL to the role that owns the database (docs/operations.md)."
    return None
