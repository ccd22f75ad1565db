"""Count the work between two yields of a long computation (taskapi/concurrency/cooperative.py)."""

from __future__ import annotations

from typing import Any

import pytest

from taskapi.concurrency.cooperative import LET_OTHERS_RUN


class Slices:
    """Counts the calls of a function in each slice, from one wait for the turn to the next."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.counts = [0]
        patch.setattr("taskapi.concurrency.cooperative.time.sleep", self._sleep)

    def count(self, owner: Any, name: str) -> None:
        """Count the calls of `owner.name`."""
        function = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.counts[-1] += 1
            return function(*arguments, **options)

        self._patch.setattr(owner, name, counted)

    def _sleep(self, seconds: float) -> None:
        if seconds == LET_OTHERS_RUN:  # not a pause of a lane
            self.counts.append(0)

    def clear(self) -> None:
        """Begin again."""
        self.counts[:] = [0]

    @property
    def longest(self) -> int:
        """The most calls between two yields."""
        return max(self.counts)

    @property
    def total(self) -> int:
        """All calls."""
        return sum(self.counts)
