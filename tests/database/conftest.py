"""Fixture: an application of one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask


@pytest.fixture
def app_in_context(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """An application in its context, for tests that break its connections: they use no other application's."""
    made = make_app()
    with made.app_context():
        yield made
