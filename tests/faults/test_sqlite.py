"""SQLite under more writers than it takes at a time, and on a disk that is full."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.scenarios import fill_disk, write_together


def test_twelve_writers_in_four_processes_all_get_201(sqlite_url: str, figures: Callable[..., None]):
    figures(**write_together(sqlite_url, writes=150))


def test_on_a_full_disk_writes_are_503_and_nothing_acknowledged_is_lost_and_with_room_it_goes_on(
    sqlite_url: str, figures: Callable[..., None]
):
    figures(**fill_disk(sqlite_url))
