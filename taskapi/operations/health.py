"""Liveness (`/healthz`) and readiness (`/readyz`) of a worker process."""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Blueprint, Flask, Response, current_app
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..auth import hook
from ..database import failures, row_security_check, row_security_probe, transactions
from ..http.errors import RETRY_AFTER, ServiceUnavailable
from ..http.response import json_response

log = logging.getLogger(__name__)

MIGRATION_HEAD = "0010"
"""The newest migration that this code needs. Migrations are numbered; a test compares this with the last one."""

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """Report liveness (always 200), without access to the database: its failure must not restart healthy workers."""
    return json_response({"status": "ok"})


@bp.get("/readyz")
def readyz() -> Response:
    """Report readiness: the database is reachable and migrated, and row-level security applies.

    Otherwise responds 503 with the reason. A clock that differs from the issuer's is reported with 200: the service
    cannot know which of the two is wrong, and if it is the issuer's, no worker of any host would be ready.
    """
    if problem := _readiness_problem():
        raise ServiceUnavailable(problem, headers=RETRY_AFTER)
    if problem := hook.issuer_clock(current_app).problem:
        return json_response({"status": "degraded", "detail": problem})
    return json_response({"status": "ok"})


def log_readiness_problems(app: Flask) -> None:
    """Log, at server start, a readiness problem that an operator must fix; an unreachable database is not logged.

    A key set that cannot be fetched, and a difference of the clocks, are logged by the fetch, which starts here.
    """
    hook.prefetch_keys(app)
    with app.app_context(), suppress(failures.DatabaseUnavailable):
        if problem := _readiness_problem():
            log.error("not ready: %s", problem)


def _readiness_problem() -> str | None:
    """Return why the service is not ready, a text for operators; None if it is. Raises `DatabaseUnavailable`."""
    try:
        if problem := migration_problem():
            return problem
        if bypass := row_security_check.row_security_problem():
            return f"{bypass}: nothing but the code of the service separates users. See docs/operations.md."
        return row_security_probe.probe_problem()
    except failures.DatabaseUnavailable as error:
        if problem := failures.configuration_problem(error):
            log.warning("not ready: %s", str(error).partition("\n")[0])
            return problem
        raise


def migration_problem() -> str | None:
    """Return a text if the database is not migrated to `MIGRATION_HEAD`, else None. Raises `DatabaseUnavailable`."""
    try:
        revision = next(
            (row.version_num for row in transactions.rows(text("SELECT version_num FROM alembic_version"))), None
        )
    except DBAPIError as error:
        state = failures.sqlstate(error.orig)
        if state == "42501":  # insufficient_privilege
            return "The role of DATABASE_URL has no right to SELECT from alembic_version: `flask db upgrade` grants it."
        if state not in ("42P01", None):  # undefined_table, and SQLite, which has no SQLSTATE
            raise failures.DatabaseUnavailable(str(error.orig)) from error
        revision = None  # the table does not exist: never migrated
    # A later revision comes from a later release: migrations run before the old code is replaced.
    if revision is None or revision < MIGRATION_HEAD:
        return "The database is not migrated: run `flask db upgrade`."
    return None
