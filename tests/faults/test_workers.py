"""A worker that is killed takes nothing with it that was acknowledged, and nothing is done twice for it."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.scenarios import kill_workers


def test_killed_workers_lose_nothing_and_with_keys_nothing_is_done_twice(url: str, figures: Callable[..., None]):
    figures(**kill_workers(url, kills=2, every=0.3, keyed=True))
