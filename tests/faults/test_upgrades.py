"""An upgrade from the last release, and new code by SIGHUP, fail no request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.chaos import upgrades
from tests.chaos.long_runs import MIGRATED_FROM
from tests.database.test_migrations import scripts


def test_an_upgrade_from_the_last_release_and_back_fails_no_request(
    empty_url: str, tmp_path: Path, figures: Callable[..., None]
):
    """`make chaos` upgrades from each earlier one."""
    figures(**upgrades.upgrade(empty_url, upgrades.releases()[-1], tmp_path))


def test_make_chaos_upgrades_from_each_release():
    assert [release.head for release in upgrades.releases()] == list(MIGRATED_FROM)
    assert MIGRATED_FROM[-1] < max(step.revision for step in scripts().walk_revisions())


def test_new_code_is_loaded_by_sighup_no_request_fails_and_code_that_does_not_start_changes_nothing(
    sqlite_url: str, tmp_path: Path, figures: Callable[..., None]
):
    figures(**upgrades.reload(sqlite_url, tmp_path, times=1))
