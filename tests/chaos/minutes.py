"""What `make test` does for seconds, for minutes and many times over: `make chaos`."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.chaos.floods import serve_beside_chunk_floods, serve_beside_dripping_heads
from tests.chaos.issuer import invent_key_ids
from tests.chaos.neighbours import assert_neighbours_served
from tests.chaos.postgres import PostgreSQL
from tests.chaos.scenarios import (
    fill_disk,
    freeze_database,
    kill_database,
    kill_workers,
    signal_under_writes,
    stop_database,
    write_together,
)
from tests.chaos.slow import serve_beside_lingering_clients, serve_beside_slow_clients
from tests.chaos.sqlite import hold_write_lock, search_long_descriptions
from tests.chaos.unread import serve_beside_unread_responses
from tests.without_where import failures_without_owner_conditions

Figures = Callable[..., None]


@pytest.mark.parametrize("keyed", [True, False], ids=["with-keys", "without-keys"])
def test_killed_workers_lose_nothing(url: str, figures: Figures, *, keyed: bool):
    figures(**kill_workers(url, kills=25, every=1, keyed=keyed))


@pytest.mark.parametrize("away", [0, 0.5, 5])
def test_a_killed_postgresql_loses_nothing(instance: PostgreSQL, figures: Figures, away: float):
    figures(**kill_database(instance, kills=5, away=away))


def test_a_postgresql_that_stops_and_starts_is_503_and_then_served(instance: PostgreSQL, figures: Figures):
    figures(**stop_database(instance, stops=4, away=8))


def test_a_frozen_postgresql_holds_no_request_for_long(instance: PostgreSQL, figures: Figures):
    figures(**freeze_database(instance, frozen=30))


def test_many_processes_write_into_one_file(sqlite_url: str, figures: Figures):
    figures(**write_together(sqlite_url, writes=5000))


@pytest.mark.parametrize("searches", [1, 12])
def test_long_searches_on_sqlite_do_not_slow_down_other_clients(sqlite_url: str, figures: Figures, searches: int):
    found = search_long_descriptions(sqlite_url, tasks=9000, searches=searches, seconds=30)
    figures(**found)
    assert_neighbours_served(found)


def test_a_write_lock_of_another_process_does_not_slow_down_readers(sqlite_url: str, figures: Figures):
    found = hold_write_lock(sqlite_url, held=42, writers=60, seconds=50)
    figures(**found)
    assert_neighbours_served(found)


def test_a_full_disk_loses_nothing(sqlite_url: str, figures: Figures):
    figures(**fill_disk(sqlite_url))


@pytest.mark.parametrize("kind", [signal.SIGHUP, signal.SIGTERM], ids=["reloaded", "replaced-worker-by-worker"])
def test_a_deployment_under_writes_fails_no_request(url: str, figures: Figures, kind: signal.Signals):
    figures(**signal_under_writes(url, kind, times=5))


def test_four_hundred_slow_clients_are_closed_and_meanwhile_the_others_are_served(url: str, figures: Figures):
    figures(**serve_beside_slow_clients(url, heads=200, bodies=100, silent=100, within=20))


def test_two_hundred_clients_that_do_not_hang_up_hold_nobody_up(url: str, figures: Figures):
    figures(**serve_beside_lingering_clients(url, count=200))


@pytest.mark.parametrize("connections", [20, 100])
def test_large_responses_that_are_not_read_take_little_memory_and_no_time_of_others(
    url: str, figures: Figures, connections: int
):
    figures(**serve_beside_unread_responses(url, connections=connections, seconds=40))


def test_invented_key_ids_and_a_key_server_that_hangs_delay_no_other_client(url: str, figures: Figures):
    found = invent_key_ids(url, seconds=30)
    figures(**found)
    assert_neighbours_served(found)
    assert_neighbours_served({**found, **found["known_key"]})


@pytest.mark.parametrize("chunk", ["byte", "extension"])
@pytest.mark.parametrize("with_token", [False, True], ids=["anonymous", "with-token"])
def test_bodies_in_chunks_of_a_byte_do_not_slow_other_clients_down(
    sqlite_url: str, figures: Figures, chunk: str, *, with_token: bool
):
    flooded = serve_beside_chunk_floods(
        sqlite_url, seconds=15, check=assert_neighbours_served, chunk=chunk, with_token=with_token
    )
    figures(**flooded)


def test_a_hundred_heads_that_drip_do_not_slow_other_clients_down(sqlite_url: str, figures: Figures):
    figures(**serve_beside_dripping_heads(sqlite_url, seconds=30, check=assert_neighbours_served))


ABOUT_THE_WHERE = {
    "test_every_statement_about_one_user_names_the_owner[postgresql]",
    "TestTag::test_an_unchanged_list_costs_one_read_by_primary_key[postgresql]",
    "TestStatements::test_every_statement_on_tasks_names_the_owner_first[postgresql]",
    "TestPlans::test_a_page_is_read_off_an_index_however_deep[postgresql]",
    "TestPlans::test_no_list_reads_the_tasks_of_others[postgresql]",
    "TestCompleting::test_is_one_transaction[postgresql]",
    "test_all_numbers_take_one_statement[postgresql]",
    "test_every_statement_names_the_owner[postgresql]",
}
"""The tests that read the statement itself, or how the database runs it."""


def test_when_every_statement_forgets_its_owner_all_other_tests_pass_on_postgresql():
    assert failures_without_owner_conditions("tests", "--ignore", "tests/e2e") == ABOUT_THE_WHERE
