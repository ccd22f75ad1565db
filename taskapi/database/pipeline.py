"""What only PostgreSQL needs: a transaction that names its user, and pipelines, and a driver with a timeout."""

from __future__ import annotations

import logging
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import count
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import (
    ConnectionTimeout,
    FeatureNotSupported,
    InvalidSqlStatementName,
    OperationalError,
    error_from_result,
)
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection, Engine, MetaData, TextClause, event, text

# A connection that died while it lay idle is replaced; the driver's warning about it is nobody's business.
logging.getLogger("psycopg").setLevel(logging.ERROR)

SERVER_TIMEOUT = 6
"""Seconds after which a server that says nothing at all is given up: it ends a statement itself before that."""

POLL_INTERVAL = 0.1
"""Seconds of one poll of the socket."""

RowSecurityContext = tuple[str, str]
"""The user, and the job that lets a statement see across users; empty for none."""

R = TypeVar("R")


class PipelinedStatement(NamedTuple):
    """A statement with `$1`, `$2`… for its values, and what makes a row of the cells that come back."""

    sql: str
    values: Sequence[Any] = ()
    row: Callable[[Sequence[Any]], Any] | None = tuple
    """None if nobody reads what comes back."""


BEGIN, COMMIT, ROLLBACK = PipelinedStatement("BEGIN"), PipelinedStatement("COMMIT"), PipelinedStatement("ROLLBACK")


def set_current_user(names: RowSecurityContext) -> PipelinedStatement:
    """Whose rows the policies show, until the end of the transaction: it holds behind a pooler and outlives nothing."""
    return PipelinedStatement(
        "SELECT set_config('taskapi.user_id', $1, true), set_config('taskapi.job', $2, true)", names, None
    )


class TimeoutConnection(psycopg.Connection[Any]):
    """A psycopg connection that raises ConnectionTimeout when the server sends nothing for `SERVER_TIMEOUT` seconds."""

    @property
    def in_transaction(self) -> bool:
        """Whether one was begun and has not ended."""
        return self.pgconn.transaction_status != TransactionStatus.IDLE

    def run_pipeline(self, messages: Sequence[PipelinedStatement]) -> list[Sequence[Any]]:
        """Send them all without waiting in between, and return the rows of each; raises the first failure.

        Unless one was begun, all of it is one transaction (PostgreSQL, "Pipelining" in its message flow). Each text is
        parsed once on a connection. The driver's own pipeline does the same at several times the cost.
        """
        new = {message.sql: _Statement(self) for message in messages if message.sql not in self._statements}
        statements = {**self._statements, **new} if new else self._statements
        in_step = False
        self.pgconn.enter_pipeline_mode()
        try:
            for sql, statement in new.items():
                self.pgconn.send_prepare(statement.name, sql.encode())
            for message in messages:
                statements[message.sql].send(message.values)
            self.pgconn.pipeline_sync()
            results = self._receive()
            in_step = True
        finally:
            if in_step:
                self.pgconn.exit_pipeline_mode()
            else:
                self.close()  # nobody knows what it would say next
        for (sql, statement), prepared in zip(new.items(), results, strict=False):
            if prepared.status == ExecStatus.COMMAND_OK:  # whatever becomes of the rest
                self._statements[sql] = statement
        try:
            _raise_first(results)
        except (InvalidSqlStatementName, FeatureNotSupported):
            # The server has forgotten what was prepared (a pooler, DEALLOCATE ALL), or it has become another plan's (a
            # migration that changed a type): on a new connection the same will do.
            self.close()
            raise
        return [
            statements[message.sql].rows(result, message.row) if message.row else ()
            for message, result in zip(messages, results[len(new) :], strict=True)
        ]

    def _receive(self) -> list[PGresult]:
        """What the server answers, up to where it is in step again."""
        results: list[PGresult] = []
        try:
            if self.pgconn.flush():
                self.wait(_flush(self.pgconn))
            self.pgconn.consume_input()  # what is there already needs no listening
            while True:
                while self.pgconn.is_busy():
                    self._wait_readable()
                    self.pgconn.consume_input()
                result = self.pgconn.get_result()
                if result is None:  # between two statements, or for ever
                    if self.pgconn.status == ConnStatus.BAD:
                        raise OperationalError("the connection is lost")  # noqa: TRY301  as the driver does
                elif result.status == ExecStatus.PIPELINE_SYNC:
                    return results
                else:
                    results.append(result)
        except OperationalError:
            _raise_first(results)  # why the server has hung up, if it said so
            raise

    def _wait_readable(self) -> None:
        """Return when there is something to receive; raises `ConnectionTimeout` after a silence of `SERVER_TIMEOUT`.

        Not by the clock: a process that is busy with other requests has not listened meanwhile.
        """
        silence = 0.0
        while silence <= SERVER_TIMEOUT:
            try:
                self._poll_socket.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                silence = 0.0 if _readable(self.pgconn.socket) else silence + POLL_INTERVAL
            except ConnectionError:
                return  # what was received before that is still to be read
            else:
                return
        raise ConnectionTimeout("the server does not answer")

    @cached_property
    def _poll_socket(self) -> socket.socket:
        """The connection once more, as a socket of Python's: the cheapest to wait for, with and without gevent."""
        ear = socket.socket(fileno=os.dup(self.pgconn.socket))
        ear.settimeout(POLL_INTERVAL)
        return ear

    @cached_property
    def _statements(self) -> dict[str, _Statement]:
        """What the server knows by a name, by its text."""
        return {}

    @cached_property
    def _names(self) -> Iterator[bytes]:
        # Of this connection alone: behind a pooler that mixes sessions up, a name is unknown and never another's.
        mine = token_hex(4).encode()
        return (b"taskapi_%s_%d" % (mine, number) for number in count(1))

    def new_name(self) -> bytes:
        """A name that no statement has."""
        return next(self._names)

    def close(self) -> None:
        """Let go of both."""
        if "_poll_socket" in vars(self):
            self._poll_socket.close()
        super().close()

    def wait(self, gen: PQGen[R], interval: float = POLL_INTERVAL, timeout: float | None = None) -> R:
        """Wait for the server; raises `ConnectionTimeout` after a silence of `SERVER_TIMEOUT`, and is closed then."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        return super().wait(self._relay(gen, interval), interval)

    def _relay(self, gen: PQGen[R], interval: float) -> PQGen[R]:
        """Relay what the driver waits for, and count the times it waited in vain."""
        silence = 0.0
        answer: R
        try:
            waiting_for = next(gen)
            while True:
                ready = yield waiting_for
                silence = 0.0 if ready or _readable(self.pgconn.socket) else silence + interval
                if silence > SERVER_TIMEOUT:
                    self.close()
                    raise ConnectionTimeout("the server does not answer")
                waiting_for = gen.send(ready)
        except StopIteration as end:
            answer = end.value
        return answer


class _Statement:
    """A statement that a connection knows by a name."""

    def __init__(self, connection: TimeoutConnection) -> None:
        self.name = connection.new_name()
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._knows_columns = False

    def send(self, values: Sequence[Any]) -> None:
        """Execute it; nothing is waited for."""
        texts = self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values)) if values else None
        self._pgconn.send_query_prepared(self.name, texts)

    def rows(self, result: PGresult, row: Callable[[Sequence[Any]], Any]) -> Sequence[Any]:
        """What it gave."""
        if not result.nfields:
            return ()
        self._transformer.set_pgresult(result, set_loaders=not self._knows_columns)
        self._knows_columns = True
        found = self._transformer.load_rows(0, result.ntuples, row)
        self._transformer.set_pgresult(None, set_loaders=False)  # or it would be kept in memory
        return found


def _flush(pgconn: PGconn) -> PQGen[None]:
    """Send what is too much for one time, and receive meanwhile: the server may wait for that."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()


def _raise_first(results: Sequence[PGresult]) -> None:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)


def _readable(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def use_timeout_connections(engine: Engine) -> None:
    """Let the engine make connections of that kind."""
    event.listen(
        engine, "do_connect", lambda _dialect, _record, args, options: TimeoutConnection.connect(*args, **options)
    )


def prepend_statements(engine: Engine, first: Callable[[Connection], Sequence[PipelinedStatement]]) -> None:
    """Send what must be said before a statement of SQLAlchemy's together with it: that costs no round trip."""

    def ahead(send: Callable[..., object]) -> Callable[..., bool]:
        def run(cursor: psycopg.Cursor[Any], *statement: Any) -> bool:
            *sent, context = statement
            messages = first(context.root_connection)
            if not messages:
                return False
            with cursor.connection.pipeline():
                for message in messages:
                    psycopg.RawCursor(cursor.connection).execute(message.sql, message.values)
                send(cursor, *sent)
            return True

        return run

    event.listen(engine, "do_execute", ahead(psycopg.Cursor.execute))
    event.listen(engine, "do_execute_no_params", ahead(psycopg.Cursor.execute))
    event.listen(engine, "do_executemany", ahead(psycopg.Cursor.executemany))


def row_security_status(metadata: MetaData) -> TextClause:
    """Ask whether the role is `exempt` from row-level security, how many tables force it, and by how many policies."""
    return text(
        "WITH tables AS (SELECT to_regclass(name) AS id FROM unnest(CAST(:names AS text[])) AS name) SELECT"
        " (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS exempt,"
        " (SELECT count(*) FROM pg_class JOIN tables ON oid = id"
        " WHERE relrowsecurity AND relforcerowsecurity) AS walls,"
        " (SELECT count(*) FROM pg_policy JOIN tables ON polrelid = id) AS policies"
    ).bindparams(names=list(metadata.tables))
