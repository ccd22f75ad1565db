"""SQLite with more writers than it accepts at a time, under slow searches, and on a full disk."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.failures import fill_disk, write_together
from tests.chaos.other_clients import assert_other_clients_served
from tests.chaos.sqlite_attacks import hold_write_lock, search_long_descriptions


def test_twelve_writers_in_four_processes_all_get_201(sqlite_url: str, figures: Callable[..., None]):
    figures(**write_together(sqlite_url, writes=150))


def test_on_a_full_disk_writes_are_503_no_acknowledged_write_is_lost_and_with_space_writes_succeed_again(
    sqlite_url: str, figures: Callable[..., None]
):
    figures(**fill_disk(sqlite_url))


def test_other_clients_are_served_during_searches_of_long_descriptions(sqlite_url: str, figures: Callable[..., None]):
    measured = search_long_descriptions(sqlite_url, tasks=2000, searches=4, seconds=2, quiet=0.5)
    figures(**measured)
    assert measured["attack_outcomes"].get("200"), measured
    assert_other_clients_served(measured)


def test_while_another_process_holds_the_write_lock_writes_are_503_in_time_and_reads_are_served(
    sqlite_url: str, figures: Callable[..., None]
):
    measured = hold_write_lock(sqlite_url, held=6, writers=30, seconds=7, quiet=0.5)
    figures(**measured)
    assert set(measured["attack_outcomes"]) == {"201", "503"}, measured
    assert_other_clients_served(measured)
    assert measured["list_response_p50_ms"] < 1000, "a list waited for the lock"
