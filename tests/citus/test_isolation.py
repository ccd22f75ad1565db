"""Row-level security on the nodes of a Citus cluster: it separates users without any WHERE, and never hides in silence."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.errors import UndefinedObject
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import ProgrammingError

from taskapi.auth.tokens import User
from taskapi.database import citus, policies, row_security_probe
from taskapi.database.base import Base
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.transactions import PURGE, SIGN_OUTS, execute, reads, rows, writes
from tests.auth.issuer import logout_token
from tests.citus.cluster import Cluster
from tests.citus.conftest import flask
from tests.conftest import Person
from tests.postgres import SERVICE

TABLES = Base.metadata.sorted_tables
PEOPLE = [f"neighbour-{number}" for number in range(12)]
"""Users of all nodes."""

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


@pytest.fixture
def people(app: Flask) -> list[Person]:
    """Users of all nodes, each with a row in every table."""
    people = [Person(FlaskClient(app), name) for name in PEOPLE]
    for person in people:
        response = person.post(json={"title": "T"}, headers={"Idempotency-Key": "k"})
        assert response.status_code == 201
        person.client.post("/backchannel-logout", data={"logout_token": logout_token(person.id, "s")})
    return people


@reads
def owners(_user: User, table: Any, job: str = "") -> set[str]:
    return {row.user_id for row in execute(select(table.c.user_id), job=job)}


@every_table
def test_a_select_without_where_returns_one_user_s_rows(people: list[Person], table: Any):
    for name in PEOPLE[:4]:
        assert owners(User(name), table) == {name}
    assert owners(User("nobody"), table) == set()


@every_table
def test_an_update_and_delete_without_where_change_one_user_s_rows(people: list[Person], table: Any):
    @writes
    def change(_owner: User) -> tuple[int, int]:
        name = table.c.keys()[-1]
        return execute(table.update().values({name: table.c[name]})).rowcount, execute(table.delete()).rowcount

    changed = change(User(PEOPLE[0]))
    assert changed[0] == changed[1] >= 1
    assert owners(User(PEOPLE[1]), table) == {PEOPLE[1]}


@every_table
def test_a_row_cannot_be_inserted_for_another_user(people: list[Person], table: Any):
    @writes
    def add(_owner: User) -> None:
        row = execute(select(table).limit(1)).mappings().one()
        execute(table.insert().values({**row, "user_id": "victim"}))

    with pytest.raises(ProgrammingError, match="row-level security"):
        add(User(PEOPLE[2]))


@every_table
def test_a_job_reads_the_rows_of_all_nodes_of_its_tables_only(people: list[Person], table: Any):
    shown = {PURGE: table.name != "idempotency_usage", SIGN_OUTS: table.name == "ended_sessions"}
    for job, is_shown in shown.items():
        found = {row.user_id for row in rows(select(table), job=job)}
        assert found >= set(PEOPLE[3:]) if is_shown else found == set()


@every_table
def test_a_statement_without_a_user_fails_and_does_not_find_nothing(people: list[Person], cluster: Cluster, table: Any):
    """A setting that does not reach a node must not make an empty list."""
    with pytest.raises(DatabaseUnavailable, match=citus.UNKNOWN_USER):
        rows(select(table))
    if table.name in policies.REFERENCE_TABLES:
        return  # the coordinator has a copy, which the setting reaches
    engine = create_engine(cluster.url_of(SERVICE))
    with engine.connect() as connection, pytest.raises(ProgrammingError) as raised:
        connection.execute(text("SELECT set_config('taskapi.user_id', :user, true)"), {"user": PEOPLE[5]})
        connection.execute(select(table).where(table.c.user_id == PEOPLE[5]))
    engine.dispose()
    assert isinstance(raised.value.orig, UndefinedObject)


def test_readyz_reads_a_probe_on_each_node(app: Flask, cluster: Cluster):
    for _ in range(2):
        assert app.test_client().get("/readyz").status_code == 200
    found = cluster.sql("SELECT user_id FROM users WHERE user_id LIKE chr(10) || '%'")
    assert {cluster.worker_of(row.user_id) for row in found} == set(cluster.workers)


def test_a_setting_that_stays_on_the_coordinator_is_503_and_no_empty_list(app: Flask, cluster: Cluster):
    person = Person(FlaskClient(app), "unreached")
    person.add()
    plain = citus.CREATE_SET_CONFIG.replace(
        "citus.propagate_set_commands = 'local'", "citus.propagate_set_commands = 'none'"
    )
    cluster.sql(plain)
    try:
        assert person.get().status_code == 503
        response = FlaskClient(app).get("/readyz")
        assert response.status_code == 503
        assert "does not reach a node" in response.get_json()["detail"]
    finally:
        cluster.sql(citus.CREATE_SET_CONFIG)
    assert person.titles() == ["Buy milk"]
    assert FlaskClient(app).get("/readyz").status_code == 200


def test_a_node_whose_policy_shows_all_rows_is_503(app: Flask, cluster: Cluster):
    worker = cluster.workers[0]
    assert FlaskClient(app).get("/readyz").status_code == 200  # inserts the rows of the probes
    opened = (
        "SELECT format('ALTER POLICY %I ON %s USING (true)', polname, polrelid::regclass) AS statement,"
        " format('ALTER POLICY %I ON %s USING (%s)', polname, polrelid::regclass, pg_get_expr(polqual, polrelid)) AS undo"
        " FROM pg_policy WHERE polname LIKE 'shown%' AND polrelid::regclass::text LIKE 'users_%'"
    )
    shards = cluster.sql(opened, worker)
    assert shards
    try:
        for shard in shards:
            cluster.sql("SET citus.enable_manual_changes_to_shards = on; " + shard.statement, worker)
        detail = FlaskClient(app).get("/readyz").get_json()["detail"]
        assert detail.startswith(row_security_probe.HIDES_NOTHING)
    finally:
        for shard in shards:
            cluster.sql("SET citus.enable_manual_changes_to_shards = on; " + shard.undo, worker)
    assert FlaskClient(app).get("/readyz").status_code == 200


def test_the_purge_works_on_all_nodes(app: Flask, people: list[Person], cluster: Cluster):
    cluster.sql("UPDATE idempotency_keys SET created_at = '2020-01-01'")
    flask(app, "purge")
    assert cluster.sql("SELECT count(*) FROM idempotency_keys") == [(0,)]
