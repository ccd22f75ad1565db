"""Row-level security of PostgreSQL: each transaction names the user whose rows its statements may reach.

The policies are in migrations/versions/0005_row_level_security.py; row_security_check.py checks that they are enforced.
"""

from __future__ import annotations

from .pipeline import PipelinedStatement

RowSecurityContext = tuple[str, str]
"""(user_id, job) for the row-level security policies; an empty string selects no rows or no job."""


def set_current_user(context: RowSecurityContext) -> PipelinedStatement:
    """Return the statement that sets taskapi.user_id and taskapi.job, which the row-level security policies read.

    The settings are local to the transaction (third argument of set_config), so PgBouncer in transaction mode and the
    next request on the same connection cannot see them.
    """
    return PipelinedStatement(
        "SELECT set_config('taskapi.user_id', $1, true), set_config('taskapi.job', $2, true)", context, None
    )
