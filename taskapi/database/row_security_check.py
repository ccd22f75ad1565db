"""Check that PostgreSQL's row-level security protects the tables from a statement without a WHERE on the owner."""

from __future__ import annotations

from sqlalchemy import MetaData, TextClause, text

from .base import Base, db
from .citus import SET_CONFIG
from .transactions import rows

POLICIES = 4
"""Policies per table: for SELECT, INSERT, UPDATE and DELETE (migration 0005)."""


def row_security_problem() -> str | None:
    """Return why PostgreSQL does not enforce row-level security for this service; None if it does, and on SQLite.

    Queries the role and the tables, in a unit of work of its own. Raises `DatabaseUnavailable`.
    """
    if db.engine.dialect.name != "postgresql":
        return None
    (status,) = rows(row_security_status(Base.metadata))
    if status.is_exempt:
        return "The database role of the service is a superuser or has BYPASSRLS"
    if status.tables_with_forced_rls < len(Base.metadata.tables):
        return "A table has no row-level security, or does not force it on its owner"
    if status.policies != POLICIES * len(Base.metadata.tables):
        return "A policy of row-level security is missing, or was added"
    return None


def row_security_status(metadata: MetaData) -> TextClause:
    """Return the query of one row about the service's role and the tables of `metadata`.

    Its columns: `is_exempt` (superuser or BYPASSRLS), and the numbers `tables_with_forced_rls` and `policies`.
    """
    return text(
        "WITH tables AS (SELECT to_regclass(name) AS id FROM unnest(CAST(:names AS text[])) AS name) SELECT"
        " (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS is_exempt,"
        # With Citus the owner of the tables copies their rows, so that nothing is forced on it (policies.py).
        " (SELECT count(*) FROM pg_class JOIN tables ON oid = id WHERE relrowsecurity AND (relforcerowsecurity OR"
        " to_regprocedure(:citus) IS NOT NULL AND NOT pg_has_role(relowner, 'MEMBER'))) AS tables_with_forced_rls,"
        " (SELECT count(*) FROM pg_policy JOIN tables ON polrelid = id) AS policies"
    ).bindparams(names=list(metadata.tables), citus=SET_CONFIG)
