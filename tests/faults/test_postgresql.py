"""PostgreSQL is killed, stopped and frozen under a service that goes on: it says 503, loses nothing and heals."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.postgres import PostgreSQL
from tests.chaos.scenarios import freeze_database, kill_database, stop_database


def test_killed_under_writes_it_loses_nothing_and_nothing_is_done_twice(
    instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**kill_database(instance, kills=1, away=0.5))


def test_while_it_is_away_all_is_503_soon_and_when_it_is_back_all_is_served_soon_by_the_same_workers(
    instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**stop_database(instance, stops=1, away=1))


def test_frozen_it_holds_no_request_for_long_and_all_is_served_soon_after(
    instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**freeze_database(instance, frozen=13))
