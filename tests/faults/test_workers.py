"""A killed worker loses no acknowledged write, and no write is made twice because of it."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.failures import kill_workers


def test_killed_workers_lose_no_acknowledged_write_and_with_keys_no_write_is_made_twice(
    url: str, figures: Callable[..., None]
):
    figures(**kill_workers(url, kills=2, every=0.3, keyed=True))
