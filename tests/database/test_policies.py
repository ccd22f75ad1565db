"""Row-level security policies: a later migration makes the same as the earlier ones, on plain PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from taskapi.database import policies
from taskapi.database.base import db
from tests import postgres


@pytest.fixture
def owner(postgresql_url: str) -> Iterator[Connection]:
    """A connection with the role that owns the tables, rolled back after the test."""
    engine = create_engine(postgres.as_owner(postgresql_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def policies_of(connection: Connection, table: str) -> list[Any]:
    columns = "policyname, cmd, permissive, roles, qual, with_check"
    query = text(f"SELECT {columns} FROM pg_policies WHERE tablename = :table ORDER BY policyname")
    return list(connection.execute(query, {"table": table}))


@pytest.mark.parametrize("table", sorted(db.metadata.tables))
def test_the_policies_of_a_new_table_equal_those_of_the_migrations(
    owner: Connection, table: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(policies.JOBS, "later", policies.JOBS.get(table, ()))
    owner.execute(text("CREATE TABLE later (user_id varchar(255) PRIMARY KEY)"))
    policies.protect(owner, "later")
    assert policies_of(owner, "later") == policies_of(owner, table)
    forced = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = 'later'"
    assert owner.execute(text(forced)).scalar_one()


def test_on_sqlite_nothing_is_executed():
    with create_engine("sqlite://").connect() as connection:
        policies.protect(connection, "nothing")
