"""Cache of ended sessions: each worker knows within half a second that a session was signed out.

A worker keeps the table `ended_sessions` in memory. A request whose token has a `sid` reads its new rows, at most twice
a second; all other requests cost one set lookup.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from ..concurrency import slots
from ..database.base import now
from ..database.failures import DatabaseUnavailable
from ..telemetry.metrics import ENDED_SESSIONS
from . import queries
from .logout_tokens import LogoutToken
from .tokens import User, max_session_token_lifetime

REFRESH_INTERVAL = 0.5
"""Seconds for which a read counts as fresh: the longest time for which a sign-out at another worker is not known."""

MAX_IN_MEMORY = 20_000
"""Maximum ended sessions in memory, about 3 MB. With more, each request queries the database."""

REREAD_AFTER = 3600.0
"""Seconds after which the whole table is read again, so that purged rows leave the memory, too."""

COOKIE_CACHE_GRACE = timedelta(hours=1)
"""Better Auth's `cookieCache.maxAge`: for this long after a sign-out it may still issue tokens for the session."""


class EndedSessions:
    """A worker's cache of the table `ended_sessions`; thread-safe.

    `max_lifetime` is the configured maximum lifetime of a token in seconds (None: `tokens.MAX_LIFETIME`), `clock`
    returns seconds that never go back.
    """

    def __init__(self, *, max_lifetime: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._retention = timedelta(seconds=max_session_token_lifetime(max_lifetime)) + COOKIE_CACHE_GRACE
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._failed_at = float("-inf")
        self._complete_read_at = float("-inf")
        self._last: queries.EndedSessionEntry | None = None
        self._ended: set[str] = set()

    def contains(self, user: User) -> bool:
        """Return True if the session of a token has ended; False if the token has no session.

        First reads new rows, or waits for another request's read, if the last one is `REFRESH_INTERVAL` old; with more
        than `MAX_IN_MEMORY` rows queries the database. Raises `DatabaseUnavailable` if rows cannot be read.
        """
        if user.session is None:
            return False
        self._refresh_if_stale()
        ended = self._ended  # take one reference: another thread may replace the set between the two uses
        if len(ended) > MAX_IN_MEMORY:
            return queries.has_ended(user)
        return queries.session_key(user.id, user.session) in ended

    def end(self, token: LogoutToken) -> None:
        """Store in the database that the session of a logout token has ended; the next request of this worker reads it.

        Waits for a read in progress, without the slot. Raises `queries.Replayed` and `DatabaseUnavailable`.
        """
        queries.record_logout(
            token.user, token.id, session_expires_at=now() + self._retention, token_expires_at=token.expires_at
        )
        # Let the next request of this worker read again. A read in progress may have begun before the commit: wait for
        # it, because it would overwrite `_read_at`.
        with slots.released(), self._lock:
            self._read_at = float("-inf")

    def _refresh_if_stale(self) -> None:
        """Read new rows if the last read began `REFRESH_INTERVAL` or longer before the call.

        One request reads; the others wait for it without their slots. Raises `DatabaseUnavailable`.
        """
        arrived_at = self._clock()
        # Compared with the arrival and not with now: however long a read takes, the requests that wait can use it.
        while arrived_at - self._read_at >= REFRESH_INTERVAL:
            if self._lock.acquire(blocking=False):
                try:
                    self._read_unless_fresh(arrived_at)
                finally:
                    self._lock.release()
                return
            # Another request reads, and needs its slot for that. Wait for it without a slot.
            with slots.released(), self._lock:
                pass

    def _read_unless_fresh(self, arrived_at: float) -> None:
        """Read new rows, unless the last read is fresh for a request of `arrived_at`; call it with the lock held.

        Raises `DatabaseUnavailable` if the read fails, or without a read if one has failed since `arrived_at`.
        """
        if arrived_at - self._read_at < REFRESH_INTERVAL:
            return
        if self._failed_at > arrived_at:  # a read failed while this request waited: fail now, not after another timeout
            raise DatabaseUnavailable("the log of sign-outs could not be read")
        began_at = self._clock()
        try:
            self._read(began_at)
        except DatabaseUnavailable:
            self._failed_at = self._clock()
            raise
        self._read_at = began_at
        ENDED_SESSIONS.set(len(self._ended))

    def _read(self, at: float) -> None:
        """Add new rows of `ended_sessions` to the cache; reload all rows if it is old or the last known row is gone.

        `at` is the current time of the clock; old means `REREAD_AFTER`. Reads at most `MAX_IN_MEMORY` + 1 rows; once
        there are that many, nothing until `REREAD_AFTER` is over. Raises `DatabaseUnavailable`.
        """
        if at - self._complete_read_at < REREAD_AFTER:
            if len(self._ended) > MAX_IN_MEMORY:
                return  # too many for the memory: `contains` queries the database
            first = self._last.number if self._last else 0
            entries = queries.ended_sessions_since(first, MAX_IN_MEMORY + 1)
            if self._last is None or self._last in entries[:1]:
                self._ended.update(entry.key for entry in entries)
                self._last = entries[-1] if entries else None
                return
            # The last known row is gone: it was purged, or the database was restored from a backup.
        entries = queries.ended_sessions_since(0, MAX_IN_MEMORY + 1)
        # Replaced in one step: another thread may use the set.
        self._ended = {entry.key for entry in entries}
        self._last, self._complete_read_at = (entries[-1] if entries else None), at
