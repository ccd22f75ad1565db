"""How long the oldest row is due for purge: whether the daily `flask purge` runs and succeeds."""

from __future__ import annotations

from ..auth import queries as sessions
from ..database.base import now
from ..idempotency import queries as idempotency
from ..tasks import purge as tasks


def oldest_due_seconds() -> float:
    """Return the seconds since the oldest row that a purge has to remove was due; 0 if there is none.

    Looks across all users (row-level security job PURGE). Raises `DatabaseUnavailable` and DBAPIError.
    """
    due = [*tasks.oldest_due(), idempotency.oldest_due(), sessions.oldest_due()]
    at = now()
    return max((max(0.0, (at - since).total_seconds()) for since in due if since is not None), default=0.0)
