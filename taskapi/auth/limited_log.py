"""Log repeated events at most once per minute and kind, with their number: clients cannot flood the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

INTERVAL = 60.0
"""Seconds between two lines of one kind."""

MAX_KINDS = 100
"""Kinds that are told apart; further ones count as one."""


class LimitedLog:
    """Writes the first event of a kind at once; later ones are counted, and written with the first after `INTERVAL`."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._kinds: dict[str, tuple[float, int]] = {}
        """For each kind, when a line was written, and the number of events since."""

    def write(self, level: int, kind: str, message: str) -> None:
        """Log the message, with the number of those not logged since, if the last line of its kind is `INTERVAL` old.

        Otherwise only count it. Kinds beyond `MAX_KINDS` count as one.
        """
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            kind = ""
        now = self._clock()
        written, more = self._kinds.get(kind, (float("-inf"), 0))
        if now - written < INTERVAL:
            self._kinds[kind] = written, more + 1
            return
        self._kinds[kind] = now, 0
        self._log.log(level, "%s%s", message, f" ({more} more of this kind since the last line)" if more else "")
