"""SQLite error codes: retry on SQLITE_BUSY, and which errors mean that the database is unavailable."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from ..concurrency.lanes import LaneTimeout

MIN_PAUSE, MAX_PAUSE = 0.001, 0.008
"""Seconds between two attempts to get a lock of SQLite; each pause is twice as long as the one before."""

_UNAVAILABLE = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
    | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
    | {sqlite3.SQLITE_INTERRUPT}
)
"""Primary result codes that are no fault of the statement: 503."""

_NOT_COMMITTED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
"""Extended codes of a COMMIT that failed before its last page was in the log.

SQLite rolls back after any failure of COMMIT except SQLITE_BUSY, where we do. But when it fails after that page was
written, at fsync or in the shared-memory index, a recovery of the log can still find the transaction complete.
"""

R = TypeVar("R")


def retry_busy(call: Callable[[], R], deadline: float) -> R:
    """Return `call()`, called again after a pause (sleep) while it raises SQLITE_BUSY; raises that at `deadline`.

    The deadline is a time of time.monotonic. Other exceptions are raised at once.
    """
    pause = MIN_PAUSE
    while True:
        try:
            return call()
        except (sqlite3.Error, DBAPIError) as error:
            if not is_busy(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE)


def is_busy(error: BaseException) -> bool:
    """Return True for SQLITE_BUSY and its extended codes, such as SQLITE_BUSY_SNAPSHOT."""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def is_interrupted(error: BaseException) -> bool:
    """Return True for SQLITE_INTERRUPT: the statement exceeded its time limit or was canceled."""
    return _code(error) == sqlite3.SQLITE_INTERRUPT


def is_unavailable(error: BaseException) -> bool:
    """Return True for an error that is no fault of the statement, such as a lock, a full disk or `LaneTimeout`: 503."""
    return isinstance(error, LaneTimeout) or _code(error) & 0xFF in _UNAVAILABLE


def may_be_committed(error: BaseException) -> bool:
    """Return True if the transaction may be found committed although its COMMIT failed with this error."""
    return _code(error) not in _NOT_COMMITTED


def _code(error: BaseException) -> int:
    """Return the extended result code of a sqlite3 or SQLAlchemy error (low byte: the primary code); 0 for others."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", 0)
