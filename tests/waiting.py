"""Wait for events in other threads, processes or servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_LIMIT = 60
"""Seconds after which a test gives up waiting; a limit of the tests, on the slowest machine, not of the service."""


def until(
    condition: Callable[[], T | None], seconds: float = WAIT_LIMIT, otherwise: str = "the condition did not become true"
) -> T:
    """Poll a condition until its value is true and return that value; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{otherwise} within {seconds} s"
        time.sleep(0.02)
    return value
