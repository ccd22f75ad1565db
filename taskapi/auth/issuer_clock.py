"""Compare this host's clock with the issuer's: if one is wrong, valid tokens are refused or expired ones accepted."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from ..telemetry.limited_log import LimitedLog

log = logging.getLogger(__name__)

MAX_DIFFERENCE = 60
"""Seconds by which the clocks may differ without a report. `claims.CLOCK_SKEW` of them are tolerated in a token."""

MAX_AGE = 600.0
"""Seconds after which an observation no longer counts."""

Clock = Callable[[], float]


class IssuerClock:
    """What is known about the issuer's clock, from the `Date` of its key set and from tokens issued in the future.

    An observation is kept as the difference to a clock that is never set, so that a correction of this host's clock
    shows at once. `wall` is seconds since 1970, `steady` seconds that never go back.
    """

    def __init__(self, *, wall: Clock = time.time, steady: Clock = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._log = LimitedLog(log, clock=steady)
        self._offset: float | None = None
        """The issuer's time minus the steady clock."""
        self._is_exact = False
        """False: the issuer's time is known to be at least that."""
        self._observed_at = 0.0

    def observe_response(self, headers: Message) -> None:
        """Note the time of a response of the issuer: its `Date`, and the `Age` that a cache has added to it.

        Both are ignored if the date is absent or malformed.
        """
        try:
            sent_at = parsedate_to_datetime(headers.get("Date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        age = headers.get("Age", "0")
        self._observe(sent_at + (int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0), is_exact=True)

    def observe_issue(self, issued_at: float) -> None:
        """Note the `iat` of a token whose signature is right, and which was issued in the future: it is later there.

        An observation of a response, which is exact, has precedence: tokens may come from one of several clocks.
        """
        if not (self._is_exact and self._is_current):
            self._observe(issued_at, is_exact=False)

    @property
    def problem(self) -> str | None:
        """What to tell the operator about the clocks, with both times; None if they agree, or nothing is known."""
        difference = self._difference()
        if abs(difference) <= MAX_DIFFERENCE or (difference > 0 and not self._is_exact):
            return None
        here, there = self._wall(), self._wall() - difference
        at_least = "" if self._is_exact else "at least "
        direction = "behind" if difference < 0 else "ahead of"
        return (
            f"The clock of this host is {at_least}{abs(difference):.0f} s {direction} the issuer's: {_time(here)} here,"
            f" {at_least}{_time(there)} there. Correct the wrong one (NTP): "
            + ("new tokens are refused." if difference < 0 else "tokens expire too early.")
        )

    @property
    def _is_current(self) -> bool:
        """True if there is an observation that still counts."""
        return self._offset is not None and self._steady() - self._observed_at <= MAX_AGE

    def _difference(self) -> float:
        """Return this host's time minus the issuer's, in seconds; 0 if the latter is not known."""
        if self._offset is None or not self._is_current:
            return 0.0
        return self._wall() - (self._steady() + self._offset)

    def _observe(self, issuer_time: float, *, is_exact: bool) -> None:
        """Keep an observation, and log a problem, once a minute."""
        self._observed_at = self._steady()
        self._offset, self._is_exact = issuer_time - self._observed_at, is_exact
        if problem := self.problem:
            self._log.write(logging.WARNING, "", problem)


def _time(seconds: float) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
