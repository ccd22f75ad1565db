"""Sign-out reaches the API: which sessions have ended, known to every worker within a moment, at almost no cost.

A worker keeps the log of sign-outs in memory and asks the database for its end twice a second at most, when a
request that names a session comes. All other requests cost one look into a set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from ..concurrency import slots
from ..database.base import now
from ..database.failures import DatabaseUnavailable
from . import queries
from .logout_tokens import LogoutToken
from .tokens import User, max_session_token_lifetime

REFRESH_INTERVAL = 0.5
"""Seconds that a worker relies on what it read: the longest that another worker's sign-out stays unknown to it."""

MAX_IN_MEMORY = 20_000
"""Sign-outs a worker keeps in memory, about 3 MB. With more than that, each request asks the database."""

REREAD_AFTER = 3600.0
"""Seconds after which it is read from the start again, so that memory loses what the database has forgotten."""

COOKIE_CACHE_GRACE = timedelta(hours=1)
"""How long after a sign-out the issuer may still make a token of the session: Better Auth's `cookieCache.maxAge`."""


class EndedSessions:
    """One worker's view of the log of sign-outs."""

    def __init__(self, *, max_lifetime: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = timedelta(seconds=max_session_token_lifetime(max_lifetime)) + COOKIE_CACHE_GRACE
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._failed_at = float("-inf")
        self._began_at = float("-inf")
        self._last: queries.EndedSessionEntry | None = None
        self._ended: set[str] = set()

    def has(self, user: User) -> bool:
        """Whether the session of this user's token has ended; raises `DatabaseUnavailable` if nobody can know."""
        if user.session is None:
            return False
        self._keep_fresh()
        ended = self._ended  # one set for both questions: another thread may exchange it
        if len(ended) > MAX_IN_MEMORY:
            return queries.has_ended(user)
        return queries.name(user.id, user.session) in ended

    def end(self, notice: LogoutToken) -> None:
        """Refuse the session's tokens from now on; raises `queries.Replayed`."""
        queries.record_logout(
            notice.user, notice.id, forget_session=now() + self._keep, forget_notice=notice.expires_at
        )
        # This worker reads it before it answers another request; a read that is under way may have begun too early.
        with slots.released(), self._lock:
            self._read_at = float("-inf")

    def _keep_fresh(self) -> None:
        arrived_at = self._clock()
        # Compared with the arrival and not with now: however long a read takes, those that wait for it can use it.
        while arrived_at - self._read_at >= REFRESH_INTERVAL:
            if self._lock.acquire(blocking=False):
                try:
                    self._read_unless_fresh(arrived_at)
                finally:
                    self._lock.release()
                return
            # Another request is reading, and needs its slot for that. Those that wait for it need none.
            with slots.released(), self._lock:
                pass

    def _read_unless_fresh(self, arrived_at: float) -> None:
        if arrived_at - self._read_at < REFRESH_INTERVAL:
            return
        if self._failed_at > arrived_at:  # otherwise each that waited would wait as long again
            raise DatabaseUnavailable("the log of sign-outs could not be read")
        began_at = self._clock()
        try:
            self._read(began_at)
        except DatabaseUnavailable:
            self._failed_at = self._clock()
            raise
        self._read_at = began_at

    def _read(self, at: float) -> None:
        if at - self._began_at < REREAD_AFTER:
            if len(self._ended) > MAX_IN_MEMORY:
                return  # too many to know them all: the database is asked
            since = self._last.number if self._last else 0
            entries = queries.ended_sessions_since(since, MAX_IN_MEMORY + 1)
            if self._last is None or self._last in entries[:1]:
                self._ended.update(entry.name for entry in entries)
                self._last = entries[-1] if entries else None
                return
            # What was read last is gone: it was purged, or this is another database, restored perhaps.
        entries = queries.ended_sessions_since(0, MAX_IN_MEMORY + 1)
        # Exchanged in one step: another thread may be looking into the set.
        self._ended = {entry.name for entry in entries}
        self._last, self._began_at = (entries[-1] if entries else None), at
