"""SQLite under more writers than it takes at a time, and on a disk that is full."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.neighbours import assert_neighbours_answered
from tests.chaos.scenarios import fill_disk, write_together
from tests.chaos.sqlite import hold_write_lock, search_long_descriptions


def test_twelve_writers_in_four_processes_all_get_201(sqlite_url: str, figures: Callable[..., None]):
    figures(**write_together(sqlite_url, writes=150))


def test_on_a_full_disk_writes_are_503_and_nothing_acknowledged_is_lost_and_with_room_it_goes_on(
    sqlite_url: str, figures: Callable[..., None]
):
    figures(**fill_disk(sqlite_url))


def test_other_clients_are_served_while_one_searches_long_descriptions(sqlite_url: str, figures: Callable[..., None]):
    found = search_long_descriptions(sqlite_url, tasks=2000, searches=4, seconds=3)
    figures(**found)
    assert found["attack_outcomes"].get("200"), found
    assert_neighbours_answered(found)


def test_while_another_process_holds_the_write_lock_writers_are_503_in_time_and_readers_are_served(
    sqlite_url: str, figures: Callable[..., None]
):
    found = hold_write_lock(sqlite_url, held=6, writers=30, seconds=7)
    figures(**found)
    assert set(found["attack_outcomes"]) == {"201", "503"}, found
    assert_neighbours_answered(found)
    assert found["list_p50_ms"] < 1000, "a list waited for the lock"
