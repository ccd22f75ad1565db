"""The faults of `tests/chaos`, for as long as a run of all tests can wait."""

from __future__ import annotations

from tests.chaos.conftest import figures, instance, sqlite_url, url

__all__ = ["figures", "instance", "sqlite_url", "url"]
