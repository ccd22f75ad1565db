"""Fixtures: a clock."""

from __future__ import annotations

import pytest

from tests.auth.conftest import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
