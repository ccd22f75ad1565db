"""PostgreSQL is killed, stopped and frozen while the service runs: 503 meanwhile, no lost write, and recovery."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.failures import freeze_database, kill_database, stop_database
from tests.chaos.postgres import PostgreSQL


def test_a_killed_postgresql_loses_no_acknowledged_write_and_no_write_is_made_twice(
    postgresql_instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**kill_database(postgresql_instance, kills=1, downtime=0.5))


def test_without_keys_a_killed_postgresql_loses_no_acknowledged_write_and_makes_none_that_was_refused(
    postgresql_instance: PostgreSQL, figures: Callable[..., None]
):
    """A write of one round trip may be committed although its response was lost: then the client is told so."""
    figures(**kill_database(postgresql_instance, kills=3, downtime=0.5, keyed=False))


def test_while_postgresql_is_stopped_requests_are_503_and_afterwards_the_same_workers_serve_them(
    postgresql_instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**stop_database(postgresql_instance, stops=1, downtime=1))


def test_a_frozen_postgresql_holds_no_request_for_longer_than_the_limit(
    postgresql_instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**freeze_database(postgresql_instance, frozen=13))
