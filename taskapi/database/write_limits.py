"""Limit what PostgreSQL writes may hold while they wait in COMMIT, so that reads are served meanwhile.

A commit waits for a synchronous standby without an end, and no timeout of the server applies to it. The service gives a
silent server up (`server_timeout.py`), but the server process keeps waiting, and keeps its connection. So writes never
take all connections of a worker, and once a commit was given up further writes are refused until none waits.
"""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.util.queue import Empty

from ..concurrency import slots
from .failures import DatabaseUnavailable
from .pool import FIFOQueue
from .unit_of_work import UnitOfWork

MAX_WRITES = 6
"""Maximum writes of a worker that hold a connection; the others of its connections (`engine.POOL_SIZE`) serve reads."""

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

_places: FIFOQueue[None] = FIFOQueue()
for _ in range(MAX_WRITES):
    _places.put(None)


def take_place(timeout: float) -> None:
    """Take one of the `MAX_WRITES` places; wait for one without a concurrency slot and without a connection.

    Raises `DatabaseUnavailable` after `timeout` seconds. Writes get their places in the order of their arrival.
    """
    try:
        _places.get(block=False)
    except Empty:
        with slots.released():
            try:
                _places.get(timeout=timeout)
            except Empty:
                raise DatabaseUnavailable("no free connection for a write") from None


def release_place() -> None:
    """Give a place back."""
    _places.put(None)
