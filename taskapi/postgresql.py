"""What only PostgreSQL needs: a transaction that names its user, and a driver that does not wait for ever."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, MetaData, TextClause, event, text

# A connection that died while it lay idle is replaced; the driver's warning about it is nobody's business.
logging.getLogger("psycopg").setLevel(logging.ERROR)

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
        """Wait for the server; raises `ConnectionTimeout` after a silence of `ANSWER_TIMEOUT`, and is closed then."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        return super().wait(self._listen(gen, interval), interval)

    def _listen(self, gen: PQGen[R], interval: float) -> PQGen[R]:
        """Relay what the driver waits for, and count the times it waited in vain.

        Not by the clock: a process that is busy with other requests has not listened meanwhile.
        """
        silence = 0.0
        answer: R
        try:
            waiting_for = next(gen)
            while True:
                ready = yield waiting_for
                silence = 0.0 if ready or _readable(self.pgconn.socket) else silence + interval
                if silence > ANSWER_TIMEOUT:
                    self.close()
                    raise psycopg.errors.ConnectionTimeout("the server does not answer")
                waiting_for = gen.send(ready)
        except StopIteration as end:
            answer = end.value
        return answer


def _readable(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


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
    """Ask whether the role is `exempt` from row-level security, how many tables force it, and by how many policies."""
    return text(
        "WITH tables AS (SELECT to_regclass(name) AS id FROM unnest(CAST(:names AS text[])) AS name) SELECT"
        " (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS exempt,"
        " (SELECT count(*) FROM pg_class JOIN tables ON oid = id"
        " WHERE relrowsecurity AND relforcerowsecurity) AS walls,"
        " (SELECT count(*) FROM pg_policy JOIN tables ON polrelid = id) AS policies"
    ).bindparams(names=list(metadata.tables))
