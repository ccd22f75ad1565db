"""Waiting for what happens elsewhere: in another thread, process or server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20
"""Seconds after which it will not happen any more, on the slowest machine."""


def until(true: Callable[[], T | None], seconds: float = PATIENCE, otherwise: str = "it did not come about") -> T:
    """Wait until it is so, and say what it was; AssertionError if it never is."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{otherwise}, not within {seconds} s"
        time.sleep(0.02)
    return found
