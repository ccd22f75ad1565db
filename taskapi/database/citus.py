"""What a database that is distributed with Citus needs in SQL, and plain PostgreSQL does not.

`flask distribute` (distribution.py) converts a database and creates the function; a connection finds out at its start
whether its database has it (connecting.py).
"""

from __future__ import annotations

from collections.abc import Sequence

FUNCTION = "taskapi_set_config"

SET_CONFIG = f"{FUNCTION}(text, text, boolean)"
"""The function to call instead of set_config, whose effect stays on the node that executes it: Citus sends a SET LOCAL
to the nodes that a transaction reaches, and no function call. A database is distributed if it has the function."""

CREATE_SET_CONFIG = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}(name text, value text, is_local boolean) RETURNS text
LANGUAGE plpgsql SET citus.propagate_set_commands = 'local' AS $$
BEGIN
    EXECUTE format('SET LOCAL %I = %L', name, value);
    RETURN value;
END $$
"""

UNKNOWN_USER = "taskapi.user_is_not_set_on_this_node"
"""The setting that does not exist, which a policy reads if neither a user nor a job has reached the node: the statement
fails with this name (SQLSTATE 42704), where it would otherwise find no row."""


def policy_condition(jobs: Sequence[str] = ()) -> str:
    """Return the condition of a row-level security policy: the user's rows, and for `jobs` all rows; an error if unset.

    Citus allows no subquery in it. So it is evaluated for each row, of which another user's is never read because
    of the WHERE of the statement; plain PostgreSQL evaluates subqueries once (migration 0005). The name of the missing
    setting depends on the row, because the coordinator evaluates what does not, although the CASE would not.
    """
    user, job = (f"current_setting('taskapi.{name}', true)" for name in ("user_id", "job"))
    names = ", ".join(f"'{name}'" for name in jobs)
    by_job = f" WHEN {job} IN ({names}) THEN true" if jobs else ""
    return (
        f"CASE WHEN user_id = nullif({user}, '') THEN true{by_job} WHEN {user} <> '' OR {job} <> '' THEN false"
        f" ELSE CAST(current_setting('{UNKNOWN_USER}' || left(user_id, 0)) AS boolean) END"
    )
