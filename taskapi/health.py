"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

from functools import cache

from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from flask import Blueprint, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from . import db
from .errors import RETRY_AFTER, Unavailable
from .response import answer

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Alive: asks nothing of anyone, so a dead database gets no healthy worker killed."""
    return answer({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Ready: the database answers and its schema is one that this code can work with."""
    try:
        revision = next((row.version_num for row in db.rows(text("SELECT version_num FROM alembic_version"))), None)
    except DBAPIError:
        revision = None  # it answers, but was never migrated
    # A revision that is unknown here comes from a later release: every migration runs under the code already there.
    if revision is None or revision in _outdated():
        raise Unavailable("The database is not migrated: run `flask db upgrade`.", headers=RETRY_AFTER)
    return answer({"status": "ok"})


@cache
def _outdated() -> frozenset[str]:
    """The migrations before the newest that this code knows."""
    script = ScriptDirectory.from_config(_alembic())
    return frozenset(step.revision for step in script.walk_revisions()) - set(script.get_heads())


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(db.MIGRATIONS))
    return config
