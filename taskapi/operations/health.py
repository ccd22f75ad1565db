"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Blueprint, Flask, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..database import failures, row_security, unit_of_work
from ..http.errors import RETRY_AFTER, ServiceUnavailable
from ..http.response import json_response

log = logging.getLogger(__name__)

MIGRATION_HEAD = "0007"
"""The newest migration that this code knows; they are numbered, and a test holds that this is the last."""

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Alive: asks nothing of anyone, so a dead database gets no healthy worker killed."""
    return json_response({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Ready: the database answers, its schema is one that this code can work with, and it keeps users apart."""
    if flaw := _readiness_problem():
        raise ServiceUnavailable(flaw, headers=RETRY_AFTER)
    return json_response({"status": "ok"})


def log_readiness_problems(app: Flask) -> None:
    """Say in the log of a server that starts what somebody must mend; a database that is away heals by itself."""
    with app.app_context(), suppress(failures.DatabaseUnavailable):
        if flaw := _readiness_problem():
            log.error("not ready: %s", flaw)


def _readiness_problem() -> str | None:
    try:
        revision = next(
            (row.version_num for row in unit_of_work.rows(text("SELECT version_num FROM alembic_version"))), None
        )
    except DBAPIError:
        revision = None  # it answers, but was never migrated
    # A later one comes from a later release: migrations run under the code already there.
    if revision is None or revision < MIGRATION_HEAD:
        return "The database is not migrated: run `flask db upgrade`."
    if exempt := row_security.row_security_problem():
        return f"{exempt}: nothing but the code of the service separates users. See docs/operations.md."
    return None
