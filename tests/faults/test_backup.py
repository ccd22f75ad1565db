"""A backup that is made while clients write is of one moment, and the service runs on what is restored from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.chaos.backups import restore_copy, restore_dump
from tests.chaos.postgres import PostgreSQL


def test_a_dump_under_writes_restores_the_rows_of_its_snapshot(
    postgresql_instance: PostgreSQL, figures: Callable[..., None]
):
    figures(**restore_dump(postgresql_instance, writes=60))


def test_a_copy_of_a_sqlite_file_under_writes_is_of_one_moment(
    sqlite_url: str, tmp_path: Path, figures: Callable[..., None]
):
    figures(**restore_copy(sqlite_url, tmp_path, writes=60))
