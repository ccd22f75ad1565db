"""Row-level security of PostgreSQL: each transaction names the user whose rows its statements may reach.

The policies are in migrations/versions/0005_row_level_security.py; row_security_check.py checks that they are enforced.
"""

from __future__ import annotations

from collections.abc import Sequence

from .pipeline import PipelinedStatement

RowSecurityContext = tuple[str, str]
"""(user_id, job) for the row-level security policies; an empty string selects no rows or no job."""


SET_USER = "SELECT set_config('taskapi.user_id', $1, true), set_config('taskapi.job', $2, true)"


def set_current_user(context: RowSecurityContext, settings: Sequence[str] = ()) -> PipelinedStatement:
    """Return, not execute, the statement that sets taskapi.user_id and taskapi.job, which the policies read.

    The settings are local to the transaction (third argument of set_config), so the next request on the same connection
    cannot see them, nor the next client of a pooler in transaction mode. `settings` has further names and values in
    turn.
    """
    if not settings:
        return PipelinedStatement(SET_USER, context, None)
    more = "".join(f", set_config(${n}, ${n + 1}, true)" for n in range(3, 3 + len(settings), 2))
    return PipelinedStatement(SET_USER + more, (*context, *settings), None)
