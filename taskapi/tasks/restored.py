"""Make a database that was restored from a backup distinguishable from the one that clients have seen since."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, update

from . import models

GAP = 10_000_000
"""Added to each user's counters: more writes and tasks than a user can have made since the backup.

The default rate limit allows 6 million requests in a week.
"""


def advance_counters(connection: Connection) -> int:
    """Add `GAP` to the revision and the last task id of all users, and give each a new epoch; return their number.

    Otherwise ids and versions that clients know from after the backup would be given to other tasks and other content:
    `If-None-Match` would be 304 and `If-Match` would succeed. With the new epoch every sync token is expired (410), so
    that clients read all data again. The connection's role must be able to write the rows of all users.
    """
    # Without the rows of probes, which belong to no user (database/row_security_probe.py).
    statement = update(models.User).where(~models.User.user_id.startswith("\n"))
    statement = statement.values(
        revision=models.User.revision + GAP,
        last_task_id=models.User.last_task_id + GAP,
        epoch=_new_epochs(connection.dialect.name),
    )
    return connection.execute(statement).rowcount


def _new_epochs(dialect: str) -> ColumnElement[Any]:
    """Return the SQL expression of a new random epoch for each row."""
    if dialect == "sqlite":
        return func.lower(func.hex(func.randomblob(16)))
    # No volatile function such as gen_random_uuid: Citus refuses it in an UPDATE of several shards.
    return func.md5(models.User.epoch + literal(secrets.token_hex(16)))
