"""What a database error means: retry the work, or report that the database is unavailable."""

from __future__ import annotations

from psycopg.errors import ConnectionTimeout, OperationalError

ATTEMPTS = 4
"""How often work is tried that the database asks to have repeated."""

RETRYABLE = frozenset({"40001", "40P01", "26000"})
"""SQLSTATE serialization_failure and deadlock_detected: the same work again will do (PostgreSQL, 13.5); and
invalid_sql_statement_name: the server has forgotten what was prepared, and so has not executed it."""

UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
"""SQLSTATE classes of a server that cannot serve now: connection, resources, operator intervention, system."""

UNAVAILABLE_STATES = frozenset({"55P03", "57014", "25006"})
"""lock_not_available, query_canceled (our timeout), read_only_sql_transaction (a standby)."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached or cannot serve now; nothing is wrong with the request.

    `uncertain` tells that it was lost while a COMMIT was under way: the write may or may not have been made.
    """

    def __init__(self, reason: str, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.uncertain = uncertain


def sqlstate(cause: BaseException | None) -> str | None:
    return getattr(cause, "sqlstate", None)


def is_unavailable(cause: BaseException | None) -> bool:
    state = sqlstate(cause)
    if state is None:
        # psycopg raises without a state when there was no server to give one.
        return type(cause) in (OperationalError, ConnectionTimeout)
    return state.startswith(UNAVAILABLE_CLASSES) or state in UNAVAILABLE_STATES
