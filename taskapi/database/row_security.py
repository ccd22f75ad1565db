"""Row-level security of PostgreSQL: each transaction names the user whose rows its statements may reach.

The policies are in migrations/versions/0005_row_level_security.py; row_security_check.py checks that they are enforced.
"""

from __future__ import annotations

from collections.abc import Sequence

from .citus import FUNCTION
from .pipeline import PipelinedStatement

RowSecurityContext = tuple[str, str]
"""(user_id, job) for the row-level security policies; an empty string selects no rows or no job."""


SET_USER = "SELECT set_config('taskapi.user_id', $1, true), set_config('taskapi.job', $2, true)"


_SET_USER_ON_ALL_NODES = SET_USER.replace("set_config", FUNCTION)


def set_current_user(
    context: RowSecurityContext, settings: Sequence[str] = (), *, is_distributed: bool = False
) -> PipelinedStatement:
    """Return, not execute, the statement that sets taskapi.user_id and taskapi.job, which the policies read.

    The settings are local to the transaction (third argument of set_config), so the next request on the same connection
    cannot see them, nor the next client of a pooler in transaction mode. `settings` has further names and values in
    turn. In a database that Citus distributes they reach all nodes, if the transaction has begun before.
    """
    sql = _SET_USER_ON_ALL_NODES if is_distributed else SET_USER
    if not settings:
        return PipelinedStatement(sql, context, None)
    more = "".join(f", set_config(${n}, ${n + 1}, true)" for n in range(3, 3 + len(settings), 2))
    return PipelinedStatement(sql + more, (*context, *settings), None)


def set_lock_timeout(timeout: str, *, is_distributed: bool) -> PipelinedStatement:
    """Return the statement that sets the longest wait for a lock until the end of the transaction, such as `100ms`."""
    function = FUNCTION if is_distributed else "set_config"
    return PipelinedStatement(f"SELECT {function}('lock_timeout', $1, true)", (timeout,), None)
