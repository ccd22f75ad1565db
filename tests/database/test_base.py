"""The engine of the current application."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from taskapi.database.base import db


def test_each_application_has_its_own_engine(make_app: Callable[..., Flask]):
    engines = []
    for app in (make_app(), make_app()):
        with app.app_context():
            assert db.engine is db.engine is db.engines[None]
            engines.append(db.engine)
    assert engines[0] is not engines[1]


def test_there_is_no_engine_outside_of_an_application():
    with pytest.raises(RuntimeError, match="application context"):
        _ = db.engine
