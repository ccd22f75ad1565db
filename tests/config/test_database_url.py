"""PostgreSQL URLs: spellings, several hosts, parameters of libpq, and messages without values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import registry
from sqlalchemy.engine import make_url

from taskapi.config.database_url import DATABASE_KINDS, ENCODE, normalize_postgresql, parse_options
from taskapi.config.settings import Config, ConfigError
from tests.conftest import SECRET

UNKNOWN = "a URL with a parameter that PostgreSQL's client library does not know"
OTHER_NUMBER = "a URL with another number of ports than of hosts, or a port that is not a number"
BAD_OPTIONS = "a URL whose options (or PGOPTIONS) are not of the form -c NAME=VALUE (a space is %20)"


def arguments(url: str) -> dict[str, Any]:
    """Return what SQLAlchemy passes to psycopg for a URL."""
    found: dict[str, Any] = registry.load("postgresql.psycopg")().create_connect_args(make_url(normalize(url)))[1]
    return found


def normalize(url: str) -> str:
    made = normalize_postgresql(url)
    assert made is not None
    return made


HOSTS: dict[str, tuple[str, str, Any]] = {
    "one": ("u:p@a/db", "a", None),
    "a port": ("u:p@a:5433/db", "a", 5433),
    "a port as a parameter": ("u:p@a/db?port=5433", "a", 5433),
    "a host as a parameter": ("u:p@/db?host=a&port=5433", "a", 5433),
    "a host with its port as a parameter": ("u:p@/db?host=a:5433", "a", 5433),
    "IPv6": ("u:p@[::1]:5433/db", "::1", 5433),
    "IPv6 as a parameter": ("u:p@/db?host=::1", "::1", None),
    "a socket": ("u:p@/db?host=/run/postgresql", "/run/postgresql", None),
    "an encoded socket": ("u:p@%2Frun%2Fpostgresql:5433/db", "/run/postgresql", "5433"),
    "repeated": ("u:p@/db?host=a&host=b&target_session_attrs=read-write", "a,b", ","),
    "repeated with ports": ("u:p@/db?host=a:1&host=b", "a,b", "1,"),
    "listed": ("u:p@/db?host=a,b&port=1,2", "a,b", "1,2"),
    "repeated with repeated ports": ("u:p@/db?host=a&host=b&port=1&port=2", "a,b", "1,2"),
    "one port for all": ("u:p@/db?host=a,b,c&port=5433", "a,b,c", "5433,5433,5433"),
    "before the name": ("u:p@a,b/db", "a,b", ","),
    "before the name with ports": ("u:p@a:5432,b:5433/db", "a,b", "5432,5433"),
    "before the name with a parameter": ("u:p@a,b/db?port=1,2", "a,b", "1,2"),
    "IPv6 among others": ("u:p@[::1]:1,b/db", "::1,b", "1,"),
    "parameters win": ("u:p@a:1/db?host=b&port=2", "b", 2),
}


@pytest.mark.parametrize(("url", "host", "port"), HOSTS.values(), ids=HOSTS)
def test_each_spelling_of_hosts_reaches_the_driver(url: str, host: str, port: Any):
    expected = {"host": host, "port": port, "user": "u", "password": "p", "dbname": "db"}
    found = arguments(f"postgresql://{url}")
    assert {name: found.get(name) for name in expected} == expected


def test_user_password_and_name_may_be_parameters_and_then_the_password_is_hidden_as_elsewhere():
    made = make_url(normalize("postgresql://h/?dbname=db&user=alice&password=p%40ss%2Fw%C3%B6rd"))
    assert (made.username, made.password, made.database) == ("alice", "p@ss/wörd", "db")
    assert str(made) == "postgresql+psycopg://alice:***@h/db"


def test_parameters_are_kept_and_empty_ones_count_as_absent():
    assert make_url(
        normalize("postgres://h/db?sslmode=verify-full&sslrootcert=/ca%20x.pem&application_name=")
    ).query == {
        "sslmode": "verify-full",
        "sslrootcert": "/ca x.pem",
    }
    assert make_url(normalize("postgres://h/db?ssl=true")).query == {"sslmode": "require"}


def test_a_service_of_libpq_s_file_needs_no_name_of_a_database():
    assert arguments("postgresql:///?service=tasks") == {"service": "tasks"}


@pytest.mark.parametrize("url", ["sqlite:////t.db", "mysql://h/db", "postgresql+asyncpg://h/db", "h/db", ""])
def test_another_scheme_is_none(url: str):
    assert normalize_postgresql(url) is None


# hunter2 is a part of the password in each of these.
INVALID: dict[str, tuple[str, str]] = {
    "@ in the password": ("u:p@hunter2@h/db", ENCODE),
    "@ and / in the password": ("u:p@s/hunter2@h/db", ENCODE),
    "@ and # in the password": ("u:p@s#hunter2@h/db", ENCODE),
    "@ and : in the password": ("u:p@s:hunter2@h/db", ENCODE),
    "@ and ? in the password": ("u:p@s/db?hunter2@h/db", UNKNOWN),
    "@, ? and = in the password": ("u:p@s/db?hunter2=3@h/db", UNKNOWN),
    "a port that is not a number": ("u:hunter2@h:port/db", ENCODE),
    "a port that is too high": ("u:hunter2@h:65536/db", "a URL with a port outside 1 to 65535"),
    "port 0": ("u:hunter2@h:0/db", "a URL with a port outside 1 to 65535"),
    "no name": ("u:hunter2@h", DATABASE_KINDS),
    "an empty name": ("u:hunter2@h/", DATABASE_KINDS),
    "a parameter of another client": ("u:hunter2@h/db?pgbouncer=true", f"{UNKNOWN}: pgbouncer"),
    "a misspelled password": ("u@h/db?pasword=hunter2", f"{UNKNOWN}: pasword"),
    "a parameter without a value": ("u@h/db?hunter2", UNKNOWN),
    "twice": ("u@h/db?password=hunter2&password=hunter2", "a URL with password twice"),
    "too many ports": ("u:hunter2@/db?host=a,b&port=1,2,3", OTHER_NUMBER),
    "ports twice": ("u:hunter2@/db?host=a:1,b&port=1,2", "a URL with ports in host and in port"),
    "a word as a port": ("u@/db?host=a&port=hunter2", OTHER_NUMBER),
    "another option of the server": ("u@h/db?options=-W%20hunter2", BAD_OPTIONS),
    "an option without a value": ("u@h/db?options=-c%20hunter2", BAD_OPTIONS),
}


@pytest.mark.parametrize(("url", "problem"), INVALID.values(), ids=INVALID)
def test_an_invalid_url_is_a_start_up_error_without_its_values(url: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": f"postgresql://{url}"})
    assert caught.value.problems == [f"DATABASE_URL is {problem}"]
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.text(alphabet="ab1:/?#@[]%&=,.+ \\", max_size=40))
def test_any_url_is_read_by_sqlalchemy_or_refused(rest: str):
    made = "postgresql+psycopg://h/db"
    with suppress(ValueError):  # refused
        made = normalize(f"postgresql://{rest}")
    registry.load("postgresql.psycopg")().create_connect_args(make_url(made))


OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "none": ("", {}),
    "the usual form": ("-c lock_timeout=1s -c search_path=a,b", {"lock_timeout": "1s", "search_path": "a,b"}),
    "without a space": ("-clock_timeout=1s", {"lock_timeout": "1s"}),
    "long": ("--Lock-Timeout=1s", {"lock_timeout": "1s"}),
    "escaped white space": (r"-c search_path=a\ b\\c", {"search_path": r"a b\c"}),
    "a value with =": ("-c x.y=a=b", {"x.y": "a=b"}),
    "the last wins": ("-c a=1 --a=2", {"a": "2"}),
}


@pytest.mark.parametrize(("options", "settings"), OPTIONS.values(), ids=OPTIONS)
def test_options_are_read_as_postgresql_does(options: str, settings: dict[str, str]):
    assert parse_options(options) == settings


def test_pgoptions_are_used_unless_the_url_has_options():
    def query(url: str, **environ: str) -> Any:
        config = Config.from_env({"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, **environ})
        return make_url(config.database_url).query

    assert query("postgresql://h/db", PGOPTIONS="-c a=1") == {"options": "-c a=1"}
    assert query("postgresql://h/db?options=-c%20b=2", PGOPTIONS="-c a=1") == {"options": "-c b=2"}
    with pytest.raises(ConfigError):
        query("postgresql://h/db", PGOPTIONS="-W 1")
