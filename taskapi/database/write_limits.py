"""Limit what PostgreSQL writes may hold while they wait in COMMIT, so that reads are served meanwhile.

A commit waits for a synchronous standby without an end, and no timeout of the server applies to it. The service gives a
silent server up (`pipeline.SERVER_TIMEOUT`), but the server process keeps waiting, and keeps its connection. So writes
never take all connections of a worker, and once a commit was given up further writes are refused until none waits.
"""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.engine import Engine

from ..concurrency import slots
from ..concurrency.lanes import Lane, LaneTimeout
from .failures import DatabaseUnavailable
from .unit_of_work import UnitOfWork

MAX_WRITES = 6
"""Maximum writes of a worker that hold a connection; the others of its connections (`engine.POOL_SIZE`) serve reads."""

MAX_WRITES_OF_USER = 3
"""Maximum writes of one user among them: they wait for each other's lock of the user's row."""

MAX_WAITING = 900
"""Maximum writes that wait for one of these places: as many as a worker has connections to clients."""

CHECK_INTERVAL = 1.0
"""Seconds between two checks whether commits still wait for a standby."""

_WAITING = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()"
    " AND wait_event = 'SyncRep' AND state_change < clock_timestamp() - interval '2 seconds')"
)
"""A role sees the wait events of its own sessions, those of other workers and hosts and those given up included."""


class CommitWatch:
    """Refuses writes while commits of the service's role wait for a synchronous standby."""

    def __init__(self) -> None:
        self.is_suspicious = False
        """True from a commit that was given up until no commit waits for a standby."""
        self._checked_at = float("-inf")

    def report_timeout(self) -> None:
        """Check before the next write whether commits wait for a standby: the server did not respond to one."""
        self.is_suspicious = True

    def require_standby(self, engine: Engine) -> None:
        """Raise `DatabaseUnavailable` if commits wait for a standby, or did at a check less than a second ago.

        Raises SQLAlchemy's errors if the check fails.
        """
        began = time.monotonic()
        if began - self._checked_at >= CHECK_INTERVAL:
            self._checked_at = began
            self.is_suspicious = _commits_wait(engine)
        if self.is_suspicious:
            raise DatabaseUnavailable("commits wait for a synchronous standby (docs/operations.md, Standby dead)")


def _commits_wait(engine: Engine) -> bool:
    """Return True if a commit of our role in this database has been waiting for a standby for two seconds."""
    unit = UnitOfWork(engine, "", writable=False)
    try:
        return bool(unit.core.execute(_WAITING).scalar_one())
    finally:
        unit.end()


COMMITS = CommitWatch()
"""What this process knows about its database's commits."""

_WRITERS = Lane(MAX_WRITES, MAX_WRITES_OF_USER, max_waiting=MAX_WAITING, max_waiting_of_user=MAX_WAITING)


class write_place:  # noqa: N801  used like a function
    """Context manager that holds one of the `MAX_WRITES` places; a wait for it holds no slot and no connection.

    Raises `DatabaseUnavailable` after `timeout` seconds of waiting.
    """

    __slots__ = ("_owner", "_timeout")

    def __init__(self, owner: str, timeout: float) -> None:
        self._owner, self._timeout = owner, timeout

    def __enter__(self) -> None:
        """Take a place, at once if one is free."""
        if not _WRITERS.acquire_now(self._owner):
            try:
                with slots.released():
                    _WRITERS.acquire(time.monotonic() + self._timeout, self._owner)
            except LaneTimeout as error:
                raise DatabaseUnavailable(f"no free connection for a write: {error}") from error

    def __exit__(self, *_: object) -> None:
        """Give the place back."""
        _WRITERS.release(self._owner)
