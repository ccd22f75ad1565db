"""The parameters of PostgreSQL connections: those of DATABASE_URL and the environment, and ours."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import make_url, text

from taskapi.database import connecting
from taskapi.database.base import db
from taskapi.database.pipeline import BEGIN, COMMIT, PipelinedStatement, TimeoutConnection
from taskapi.database.transactions import rows
from tests import postgres
from tests.conftest import Person, delete_all_rows, migrate, serving

ONE = PipelinedStatement("SELECT $1::int", (1,))


def show(name: str) -> str:
    """Return a session setting as the statements of the current application have it."""
    return str(rows(text(f"SHOW {name}"))[0][0])


def with_query(url: str, query: str) -> str:
    """Return a URL, which has a query, with further parameters."""
    return f"{url}&{query}"


# What the operator sets


def test_parameters_of_the_url_are_kept_and_ours_added(postgresql_url: str):
    options = quote("-c lock_timeout=700ms --search_path=public,pg_catalog -cwork_mem=5MB")
    url = with_query(postgresql_url, f"application_name=tasks-blue&sslmode=disable&keepalives_idle=7&options={options}")
    with serving(url):
        assert show("application_name") == "tasks-blue"
        assert (show("lock_timeout"), show("work_mem")) == ("700ms", "5MB")
        assert show("search_path") == "public,pg_catalog"
        assert (show("statement_timeout"), show("TimeZone")) == ("5s", "UTC")
        with db.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            found = driver.info.get_parameters()
    assert driver.pooling.keeps_settings, "no pooler is between"
    assert (found["sslmode"], found["keepalives_idle"], found["tcp_user_timeout"]) == ("disable", "7", "5000")


def test_timeouts_of_the_operator_replace_ours_and_the_time_zone_stays_utc(postgresql_url: str):
    options = quote("-c statement_timeout=2s -c TimeZone=Asia/Tokyo --datestyle=German --client_encoding=LATIN1")
    with serving(with_query(postgresql_url, f"options={options}&client_encoding=LATIN1&connect_timeout=9")) as app:
        assert show("statement_timeout") == "2s"
        assert (show("TimeZone"), show("DateStyle")[:3], show("client_encoding")) == ("UTC", "ISO", "UTF8")
        assert Person(app.test_client(), "alice").add("Zażółć 💧")["title"] == "Zażółć 💧"
    delete_all_rows(postgresql_url)


def test_the_environment_of_libpq_is_kept(postgresql_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGAPPNAME", "tasks-green")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "9")
    with serving(postgresql_url, PGOPTIONS="-c lock_timeout=800ms"):
        assert (show("application_name"), show("lock_timeout")) == ("tasks-green", "800ms")
        assert (show("TimeZone"), show("DateStyle")[:3]) == ("UTC", "ISO")
    url = make_url(postgresql_url)
    assert "connect_timeout" not in connecting.connect_arguments(url, "taskapi", {"connect_timeout": 2})


def test_a_value_with_spaces_and_backslashes_reaches_the_session(postgresql_url: str):
    options = quote(r"-c tests.value=a\ b,\\c -c role=taskapi_service")
    with serving(with_query(postgresql_url, f"options={options}")):
        assert rows(text("SELECT current_setting('tests.value')"))[0][0] == r"a b,\c"
        with db.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            assert not driver.transaction_settings, "no pooler is between"


# Several hosts


@pytest.fixture
def hosts(postgresql_url: str) -> tuple[str, str]:
    """The percent-encoded directories of two sockets: nothing listens at the first, the server at the second."""
    return quote("/nonexistent", safe=""), quote(str(make_url(postgresql_url).query["host"]), safe="")


SPELLINGS = {
    "repeated": "postgresql://{user}@/{name}?host={down}&host={up}",
    "listed": "postgresql://{user}@/{name}?host={down},{up}&port=5432,5432",
    "with one port": "postgresql://{user}@/{name}?host={down},{up}&port=5432",
    "before the name": "postgresql://{user}@{down},{up}/{name}",
    "before the name with ports": "postgresql+psycopg://{user}@{down}:5432,{up}:5432/{name}",
    "with attributes": "postgres://{user}@{down},{up}/{name}?target_session_attrs=read-write&connect_timeout=3",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_service_and_the_migrations_use_the_host_that_responds(
    postgresql_url: str, hosts: tuple[str, str], spelling: str
):
    def url(role: str) -> str:
        names = {"user": f"{role}:{role}", "name": make_url(postgresql_url).database, "down": hosts[0], "up": hosts[1]}
        return spelling.format(**names)

    with serving(url(postgres.SERVICE), MIGRATION_DATABASE_URL=url(postgres.OWNER)) as app:
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
        assert result.exit_code == 0, result.output
        assert app.test_client().get("/readyz").status_code == 200
        assert Person(app.test_client(), "alice").add()["title"] == "Buy milk"
    delete_all_rows(postgresql_url)


def test_read_write_selects_the_server_that_accepts_writes():
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-postgresql-") as folder,
        postgres.server(Path(folder) / "data") as standby,
    ):
        directory = make_url(standby.get_uri()).query["host"]
        with psycopg.connect(standby.get_uri(), autocommit=True) as operator:
            operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            operator.execute("SELECT pg_reload_conf()")
        with postgres.new_database(postgres.server_url) as url:
            primary = make_url(url).query["host"]
            both = make_url(url).set(query={"host": f"{directory},{primary}", "target_session_attrs": "read-write"})
            migrate(both.render_as_string(hide_password=False))


# DNS


def test_a_host_is_tried_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch):
    found = {"a": ["192.0.2.1", "2001:db8::1"], "b": ["192.0.2.2"]}

    def resolve(host: str, _port: int, _timeout: float) -> list[Any]:
        return [(0, 0, 0, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr(connecting, "resolve", resolve)
    made = connecting._resolve_hosts({"host": "a,b,192.0.2.9,/run", "port": "1,,3,4", "user": "u"})
    assert made == {
        "host": "a,a,b,192.0.2.9,/run",
        "hostaddr": "192.0.2.1,2001:db8::1,192.0.2.2,192.0.2.9,",
        "port": "1,1,,3,4",
        "user": "u",
    }


def test_a_resolver_that_does_not_respond_is_503_within_the_connect_timeout(monkeypatch: pytest.MonkeyPatch):
    timeouts = []

    def resolve(_host: str, _port: int, timeout: float) -> list[Any]:
        timeouts.append(timeout)
        raise TimeoutError("the DNS lookup took too long")

    monkeypatch.setattr(connecting, "resolve", resolve)
    with serving("postgresql://u:hunter2@a:5432,b/tasks?connect_timeout=3") as app:
        assert app.test_client().get("/readyz").status_code == 503
    assert set(timeouts) == {3.0}


# Prepared statements


@pytest.fixture
def connection(postgresql_url: str) -> Iterator[TimeoutConnection]:
    with TimeoutConnection.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as made:
        assert isinstance(made, TimeoutConnection)
        yield made


def prepared(connection: TimeoutConnection) -> list[str]:
    """Return the names of the statements that the server has prepared for a connection."""
    return [name for (name,) in connection.execute("SELECT name FROM pg_prepared_statements").fetchall()]


def test_after_a_lost_statement_the_connection_stays_open_and_prepares_no_more(connection: TimeoutConnection):
    connection.run_pipeline([BEGIN, ONE, COMMIT])
    assert len(prepared(connection)) == 3
    connection.execute("DEALLOCATE ALL")  # what a pooler does that changes the server
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        connection.run_pipeline([BEGIN, ONE, COMMIT])
    for _ in range(3):
        assert connection.run_pipeline([BEGIN, ONE, COMMIT]) == [(), [(1,)], ()]
    assert not prepared(connection)
    assert not connection.closed


def test_a_name_that_another_statement_has_stops_the_preparation_too(connection: TimeoutConnection):
    connection.run_pipeline([ONE])
    (name,) = prepared(connection)
    connection.execute(f"PREPARE {name.removesuffix('_1')}_2 AS SELECT 'of another client'".encode())
    two = PipelinedStatement("SELECT 2")
    with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
        connection.run_pipeline([two])
    assert connection.run_pipeline([two, ONE]) == [[(2,)], [(1,)]]
