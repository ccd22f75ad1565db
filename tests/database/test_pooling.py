"""The order in which new connections try several database servers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskapi.database.pooling import Servers

HOSTS = {
    "host": "a,b,c",
    "hostaddr": "10.0.0.1,10.0.0.2,10.0.0.3",
    "port": "5432,,6432",
    "target_session_attrs": "read-write",
}


def connection(number: int) -> Any:
    """A connection to the server of this number."""
    return SimpleNamespace(info=SimpleNamespace(hostaddr=f"10.0.0.{number}", port=6432 if number == 3 else 5432))


def order(servers: Servers, **parameters: str) -> str:
    found = servers.sort({**HOSTS, **parameters})
    assert sorted(found["host"].split(",")) == ["a", "b", "c"]
    pairs = zip(found["host"].split(","), found["hostaddr"].split(","), found["port"].split(","), strict=True)
    expected = {("a", "10.0.0.1", "5432"), ("b", "10.0.0.2", ""), ("c", "10.0.0.3", "6432")}
    assert set(pairs) == expected, "a host has the address and port of another one"
    return str(found["host"])


def test_without_experience_the_order_is_that_of_the_url():
    assert order(Servers()) == "a,b,c"


@pytest.mark.parametrize(("number", "expected"), [(1, "a,b,c"), (2, "b,a,c"), (3, "c,a,b")])
def test_the_server_of_the_last_connection_is_first(number: int, expected: str):
    servers = Servers()
    servers.report_connected(connection(number))
    assert order(servers) == expected


def test_a_silent_server_is_last_until_a_connection_to_it_succeeds():
    servers = Servers()
    servers.report_connected(connection(1))
    servers.report_silence(connection(1))
    assert order(servers) == "b,c,a"
    servers.report_connected(connection(2))
    assert order(servers) == "b,c,a"
    servers.report_connected(connection(1))
    assert order(servers) == "a,b,c"


@pytest.mark.parametrize("wanted", ["any", "prefer-standby", "standby", "read-only"])
def test_the_order_of_a_url_that_accepts_other_servers_than_the_primary_is_kept(wanted: str):
    servers = Servers()
    servers.report_connected(connection(3))
    assert order(servers, target_session_attrs=wanted) == "a,b,c"


def test_the_parameters_of_one_server_are_kept():
    parameters = {"host": "a", "hostaddr": "10.0.0.1", "port": "5432", "target_session_attrs": "read-write"}
    assert Servers().sort(parameters) == parameters
    assert Servers().sort({"dbname": "x", "target_session_attrs": "read-write"}) == {
        "dbname": "x",
        "target_session_attrs": "read-write",
    }
