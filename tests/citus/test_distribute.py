"""`flask distribute` on a Citus cluster: once, with the rows that exist, while the service runs; and migrations after it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text

from taskapi.database import citus, policies
from taskapi.database.base import Base
from tests.citus.cluster import Cluster, new_database
from tests.citus.conftest import flask, service
from tests.conftest import Person
from tests.postgres import OWNER, SERVICE
from tests.waiting import until


@pytest.fixture
def empty(cluster_url: str) -> Iterator[Cluster]:
    """A database of the cluster that is not migrated."""
    with new_database(cluster_url) as cluster:
        yield cluster


@pytest.fixture
def fresh(empty: Cluster) -> Iterator[Flask]:
    """An application on a database that is migrated and not distributed."""
    with service(empty) as app:
        flask(app, "db", "upgrade")
        yield app


def test_all_tables_are_distributed_by_the_owner_and_the_log_of_sign_outs_is_on_each_node(cluster: Cluster):
    tables = {
        row.name: (row.kind, row.column, row.group)
        for row in cluster.sql(
            "SELECT table_name::text AS name, citus_table_type AS kind, distribution_column AS column,"
            " colocation_id AS group FROM citus_tables"
        )
    }
    group = tables["users"][2]
    expected = {
        name: ("reference", "<none>") if name == "ended_sessions" else ("distributed", "user_id", group)
        for name in Base.metadata.tables
    }
    assert {name: kind[: len(expected[name])] for name, kind in tables.items()} == expected


def test_it_can_be_repeated_and_changes_nothing(app: Flask, cluster: Cluster):
    before = cluster.sql("SELECT * FROM pg_dist_shard ORDER BY shardid")
    assert flask(app, "distribute") == "nothing changed: already distributed\n"
    assert cluster.sql("SELECT * FROM pg_dist_shard ORDER BY shardid") == before


def test_a_role_that_is_missing_on_a_node_is_reported_and_nothing_is_changed(fresh: Flask, empty: Cluster):
    missing = "taskapi_only_on_the_coordinator"
    empty.sql(f"SET citus.enable_create_role_propagation = off; CREATE ROLE {missing} LOGIN PASSWORD '{missing}'")
    empty.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {missing}")
    try:
        with service(empty, missing) as app:
            result = app.test_cli_runner().invoke(args=["distribute"])
        assert result.exit_code == 1
        assert result.output.startswith("Error: a node lacks one of the roles ")
        assert empty.sql("SELECT count(*) FROM citus_tables") == [(0,)]
    finally:
        empty.sql(f"DROP OWNED BY {missing}; DROP ROLE {missing}")


def test_the_running_service_goes_on_and_no_response_is_empty(fresh: Flask, empty: Cluster):
    """Its connections are from before: the first statement on each fails, and is repeated on a new connection."""
    people = [Person(FlaskClient(fresh), f"user-{number}") for number in range(6)]
    for person in people:
        person.add("Before")
    done, statuses = threading.Event(), Counter[int]()

    def work(person: Person) -> None:
        after = 0
        while after < 10:
            after += done.is_set()
            for response in (person.get(), person.post(json={"title": "T"})):
                statuses[response.status_code] += 1
                assert response.status_code in (200, 201, 503), response.text
                assert response.status_code != 200 or len(response.get_json()) > 0

    with ThreadPoolExecutor(len(people)) as pool:
        working = [pool.submit(work, person) for person in people]
        try:
            until(lambda: fresh.test_cli_runner().invoke(args=["distribute"]).exit_code == 0)  # a deadlock: repeat it
        finally:
            done.set()
        for each in working:
            each.result()
    assert {len(person.titles()) >= 11 for person in people} == {True}
    print(f"distributed under {len(people)} users: {dict(statuses)}")


def test_a_later_migration_adds_a_column_an_index_and_a_protected_table(app: Flask, cluster: Cluster):
    engine = create_engine(cluster.url_of(OWNER))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL citus.multi_shard_modify_mode = 'sequential'"))
        connection.execute(text("ALTER TABLE tasks ADD COLUMN location varchar(200)"))
        connection.execute(text("CREATE INDEX later ON tasks (user_id, location)"))
        connection.execute(text("CREATE TABLE notes (user_id varchar(255) PRIMARY KEY, text text)"))
        policies.protect(connection, "notes")
    try:
        kinds = dict(cluster.sql("SELECT table_name::text, citus_table_type FROM citus_tables"))
        assert kinds["notes"] == "distributed"
        for name in ("one", "two"):
            cluster.sql(f"INSERT INTO notes VALUES ('{name}', 'T')")
        cluster.sql(f"GRANT SELECT ON notes TO {SERVICE}")
        engine.dispose()
        engine = create_engine(cluster.url_of(SERVICE))
        with engine.begin() as connection:
            connection.execute(text("SELECT taskapi_set_config('taskapi.user_id', 'one', true)"))
            assert connection.execute(text("SELECT user_id FROM notes")).all() == [("one",)]
    finally:
        cluster.sql("DROP TABLE notes")
        cluster.sql("ALTER TABLE tasks DROP COLUMN location")
        engine.dispose()


def test_migrations_run_on_a_distributed_database(app: Flask):
    flask(app, "db", "upgrade")
    flask(app, "db", "check")
    flask(app, "db", "downgrade", "0009")
    assert app.test_client().get("/readyz").status_code == 503
    flask(app, "db", "upgrade")
    response = app.test_client().get("/readyz")
    assert response.status_code == 200, response.text


def test_the_function_is_called_in_place_of_set_config(app: Flask, cluster: Cluster):
    (exists,) = cluster.sql("SELECT to_regprocedure(:name) IS NOT NULL", name=citus.SET_CONFIG)[0]
    assert exists
