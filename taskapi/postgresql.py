"""What only PostgreSQL needs: a transaction that names its user, and a driver that does not wait for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, MetaData, TextClause, event, text

ANSWER_TIMEOUT = 6
"""Seconds after which a server that says nothing at all is given up: it ends a statement itself before that."""

NAME_THE_USER = "SELECT set_config('taskapi.user_id', %s, true), set_config('taskapi.job', %s, true)"
"""Whose rows the policies show, until the end of the transaction: it holds behind a pooler and outlives nothing."""

Names = tuple[str, str]
"""The user, and the job that lets a statement see across users; empty for none."""

R = TypeVar("R")


class Patient(psycopg.Connection[Any]):
    """A connection whose patience has an end: a frozen server keeps its sockets open, and its kernel acknowledges."""

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server; raises `ConnectionTimeout`, and is closed then."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_TIMEOUT)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  `wait` is documented to raise it
            self.close()
            raise psycopg.errors.ConnectionTimeout("the server does not answer") from error


def connect_patiently(engine: Engine) -> None:
    """Let the engine make connections of that kind."""
    event.listen(engine, "do_connect", lambda _dialect, _record, args, options: Patient.connect(*args, **options))


def name_users(engine: Engine, names_for: Callable[..., Names | None]) -> None:
    """Before a statement, say whose it is: `names_for(connection, in_transaction=…)`, or None if that was said.

    Both go out together, without waiting in between: naming the user costs no round trip (PostgreSQL, "Pipelining" in
    its message flow: what is sent up to the Sync is one transaction, unless one was begun).
    """

    def ahead(send: Callable[..., object]) -> Callable[..., bool]:
        def run(cursor: psycopg.Cursor[Any], *statement: Any) -> bool:
            *sent, context = statement
            connection = cursor.connection
            names = names_for(context.root_connection, in_transaction=not connection.autocommit)
            if names is None:
                return False
            with connection.pipeline():
                connection.execute(NAME_THE_USER, names)
                send(cursor, *sent)
            return True

        return run

    event.listen(engine, "do_execute", ahead(psycopg.Cursor.execute))
    event.listen(engine, "do_execute_no_params", ahead(psycopg.Cursor.execute))
    event.listen(engine, "do_executemany", ahead(psycopg.Cursor.executemany))


def walls(metadata: MetaData) -> TextClause:
    """Ask whether the role is `exempt` from row-level security, and how many tables force it (`walls`)."""
    return text(
        "SELECT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS exempt,"
        " (SELECT count(*) FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
        " AND oid IN (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name)) AS walls"
    ).bindparams(names=list(metadata.tables))
