"""Log repeated events at most once per minute and kind, with their number: no client and no outage floods the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from flask import Flask

INTERVAL = 60.0
"""Seconds between two lines of one kind."""

MAX_KINDS = 100
"""Kinds that are told apart; further ones count as one."""


class RepeatCounter:
    """Decides which events of a kind are logged: the first at once, then the first after each `INTERVAL`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}
        """For each kind, when a line was written, and the number of events since."""

    def count(self, kind: str) -> int | None:
        """Count an event; None if it is not to be logged, otherwise the number of those not logged since the last."""
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = ""
        now = self._clock()
        written, more = self._kinds.get(kind, (float("-inf"), 0))
        if now - written < INTERVAL:
            self._kinds[kind] = written, more + 1
            return None
        self._kinds[kind] = now, 0
        return more


class LimitedLog:
    """Writes the first event of a kind at once; later ones are counted, and written with the first after `INTERVAL`."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._counter = log, RepeatCounter(clock)

    def write(self, level: int, kind: str, message: str, error: BaseException | None = None) -> bool:
        """Count an event of a kind; if a line is due, log the message, how many were not logged, and the traceback.

        Returns whether it was logged.
        """
        more = self._counter.count(kind)
        if more is not None:
            self._log.log(level, "%s%s", message, suppressed(more), exc_info=error)
        return more is not None


def limited_log(app: Flask, log: logging.Logger) -> LimitedLog:
    """Return the `LimitedLog` of a logger in an application; it is made at its first use."""
    limited: LimitedLog = app.extensions.setdefault(f"{__name__}.{log.name}", LimitedLog(log))
    return limited


class LimitRepeats(logging.Filter):
    """Filter for the loggers of a library: one record per minute of each message format, with the number of others."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._counter = RepeatCounter(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a repetition; otherwise append the number of those not logged to the message."""
        more = self._counter.count(f"{record.levelno} {record.msg}")
        if more:
            record.msg, record.args = f"{record.getMessage()}{suppressed(more)}", ()
        return more is not None


def suppressed(more: int) -> str:
    """Return the end of a line that says how many events of its kind were not logged since the last line."""
    return f" ({more} more of this kind since the last line)" if more else ""
