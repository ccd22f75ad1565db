"""Whether PostgreSQL's row-level security protects the tables from a statement that forgets its owner."""

from __future__ import annotations

from . import pipeline
from .base import Base, db
from .unit_of_work import rows

POLICIES = 4
"""Of a table: for what is shown, added, changed and removed (migration 0005)."""


def row_security_problem() -> str | None:
    """Why the database would show this service every user's rows; None if it would not. Asks PostgreSQL."""
    if db.engine.dialect.name != "postgresql":
        return None
    (found,) = rows(pipeline.row_security_status(Base.metadata))
    if found.exempt:
        return "The database role of the service is a superuser or has BYPASSRLS"
    if found.walls < len(Base.metadata.tables):
        return "A table has no row-level security, or does not force it on its owner"
    if found.policies != POLICIES * len(Base.metadata.tables):
        return "A policy of row-level security is missing, or was added"
    return None
