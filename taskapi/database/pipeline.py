"""PostgreSQL connections: several statements in one pipeline, which takes one round trip."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cached_property
from itertools import count
from secrets import token_hex
from typing import Any, NamedTuple, NoReturn

from psycopg.abc import PQGen
from psycopg.errors import (
    Diagnostic,
    DuplicatePreparedStatement,
    FeatureNotSupported,
    InFailedSqlTransaction,
    InvalidSqlStatementName,
    OperationalError,
    error_from_result,
)
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from .server_statements import ServerStatement
from .server_timeout import ServerTimeoutConnection

# psycopg warns about a pooled connection that broke while it was idle; those are replaced, so only errors are logged.
logging.getLogger("psycopg").setLevel(logging.ERROR)

MAX_IDLE = 60
"""Seconds without use after which a firewall may have dropped a connection silently; cloud load balancers wait 240."""


class PipelinedStatement(NamedTuple):
    """A statement of a pipeline: its text, its values, and the function that makes a row."""

    sql: str
    """The text, with `$1`, `$2`… for the values."""
    values: Sequence[Any] = ()
    row: Callable[[Sequence[Any]], Any] | None = tuple
    """Makes a row of the cells of a result; None if the result is not read."""


BEGIN, COMMIT, ROLLBACK = PipelinedStatement("BEGIN"), PipelinedStatement("COMMIT"), PipelinedStatement("ROLLBACK")


class TimeoutConnection(ServerTimeoutConnection):
    """A connection that executes several statements in one round trip, and gives a silent server up."""

    skipped_last = False
    """True if the server has not begun the last statement of the pipeline that failed, because one before it failed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._last_used, self._number_of_results = time.monotonic(), 0
        self._is_unreplicated = False
        self._prepares = True
        self.transaction_settings: Sequence[str] = ()
        """Names and values of session settings that each transaction has to set: a pooler does not keep them."""
        self.is_distributed = False
        """True if the database is distributed with Citus (citus.py): reads need a transaction, too."""
        self.lock_timeout = "0"
        """The longest wait for a lock of a session."""

    @property
    def was_used_recently(self) -> bool:
        """True if a pipeline succeeded, or the connection was opened, in the last `MAX_IDLE` seconds.

        Otherwise a firewall may have dropped it silently: send COMMIT only after another round trip has succeeded.
        """
        return time.monotonic() - self._last_used < MAX_IDLE

    def note_canceled_replication(self, notice: Diagnostic) -> None:
        """Make the current commit fail if the server warns that no standby has it (psycopg's notice handler).

        Whoever cancels a commit that waits for a synchronous standby makes it return success: it would be lost with
        this server. The warning has no SQLSTATE of its own, and its text is translated.
        """
        if notice.source_function == "SyncRepWaitForLSN":
            self._is_unreplicated = True

    def _raise_unreplicated(self) -> NoReturn:
        """Raise OperationalError for a commit that no standby has."""
        self._is_unreplicated = False
        raise OperationalError("the commit is on this server only: its wait for a standby was canceled")

    def commit(self) -> None:
        """Commit as psycopg does (SQLAlchemy Core calls it); raise OperationalError if no standby has the commit."""
        super().commit()
        if self._is_unreplicated:
            self._raise_unreplicated()

    def require_open(self) -> None:
        """Raise OperationalError if the server has closed this idle connection. Sends nothing and does not wait."""
        # The first call may read the server's last message; then the second one finds the end of the stream.
        self.pgconn.consume_input()
        self.pgconn.consume_input()

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and COMMIT or ROLLBACK."""
        return self.pgconn.transaction_status != TransactionStatus.IDLE

    def run_pipeline(self, statements: Sequence[PipelinedStatement]) -> list[Sequence[Any]]:
        """Execute statements in one round trip; return the rows of each (() without `row`), or raise the first error.

        Without a BEGIN all of them are one implicit transaction (PostgreSQL, "Pipelining" in its message flow). The
        server parses each text once per connection, unless a pooler loses prepared statements (`Pooling`). psycopg's
        own pipeline executes several times as many bytecodes. Raises `InFailedSqlTransaction` for a COMMIT that rolled
        back. Closes the connection if results may be missing, or the result type of a prepared statement has changed.
        """
        if self._prepares and not self.pooling.keeps_statements:
            self._prepares, self.prepare_threshold = False, None
            self._server_statements.clear()
        new = {each.sql: self._new(each.sql) for each in statements if each.sql not in self._server_statements}
        known = {**self._server_statements, **new} if new else self._server_statements
        prepared = len(new) if self._prepares else 0
        is_synced, pgconn = False, self.pgconn
        self.skipped_last, self._number_of_results = False, prepared + len(statements)
        pgconn.enter_pipeline_mode()
        try:
            for server_statement in new.values():
                server_statement.prepare()
            for statement in statements:
                known[statement.sql].send(statement.values)
            pgconn.pipeline_sync()
            results = self._receive_until_sync()
            is_synced = True
        finally:
            if is_synced:
                pgconn.exit_pipeline_mode()
            else:
                self.close()  # results may still arrive, and would be taken for those of the next statements
        if new:
            self._keep(new, results)
        try:
            self._raise_first_error(results)
        except (InvalidSqlStatementName, DuplicatePreparedStatement) as error:
            self.pooling.report_lost_statement(error.sqlstate)
            raise
        except FeatureNotSupported:
            self._close_if_prepared_before(statements, results[prepared:], new)
            raise
        if statements[-1] is COMMIT and results[-1].command_status != b"COMMIT":
            raise InFailedSqlTransaction("the server has rolled back instead of the commit")
        if self._is_unreplicated:
            self._raise_unreplicated()
        self._last_used = time.monotonic()
        return [
            known[statement.sql].load_rows(result, statement.row) if statement.row else ()
            for statement, result in zip(statements, results[prepared:], strict=True)
        ]

    def _receive_until_sync(self) -> list[PGresult]:
        """Return a pipeline's results up to its sync point, those of failed statements included.

        Waits for the server. Raises OperationalError if the connection is lost, or the server's reason for closing it,
        and `ConnectionTimeout`.
        """
        results: list[PGresult] = []
        pgconn = self.pgconn
        try:
            if pgconn.flush():
                self.wait(_flush(pgconn))
            pgconn.consume_input()  # without a wait: the results may have arrived already
            while True:
                while pgconn.is_busy():
                    self._wait_readable()
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:  # libpq's separator between two statements, or the connection is lost
                    if pgconn.status == ConnStatus.BAD:
                        raise OperationalError("the connection is lost")  # noqa: TRY301  as the driver does
                elif result.status == ExecStatus.PIPELINE_SYNC:
                    return results
                else:
                    results.append(result)
        except OperationalError:
            self._raise_first_error(results)  # the server's reason for closing the connection, if it sent one
            raise

    def _raise_first_error(self, results: Sequence[PGresult]) -> None:
        """Raise the first error in a pipeline's results, which may be incomplete; do nothing if none has failed.

        Sets `skipped_last`.
        """
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                error = error_from_result(result)
                # libpq's own errors have no SQLSTATE: the connection was lost, and the server may have executed all.
                if error.diag.sqlstate is not None:
                    self.skipped_last = results.index(result) + 1 < self._number_of_results
                raise error

    def _close_if_prepared_before(
        self, statements: Sequence[PipelinedStatement], executed: Sequence[PGresult], new: Container[str]
    ) -> None:
        """Close the connection if the statement that failed is none of the `new` ones.

        Its result type may have changed (a migration): a new connection prepares it again. Anything else that the
        server does not support is a defect.
        """
        failed = (n for n, result in enumerate(executed) if result.status == ExecStatus.FATAL_ERROR)
        if any(statements[n].sql not in new for n in failed):
            self.close()

    @cached_property
    def _server_statements(self) -> dict[str, ServerStatement]:
        """The statements of `run_pipeline` that are kept for reuse, by text: those prepared without an error.

        If a pooler loses prepared statements, all that were sent, not prepared.
        """
        return {}

    @cached_property
    def _names(self) -> Iterator[bytes]:
        """Iterator of names for prepared statements, unique among connections.

        A pooler that gives this client another server connection then raises "does not exist" for a name, and never
        executes another client's statement.
        """
        unique = token_hex(4).encode()
        return (b"taskapi_%s_%d" % (unique, number) for number in count(1))

    def _keep(self, new: dict[str, ServerStatement], results: Sequence[PGresult]) -> None:
        """Store new statements for the next pipelines, except those whose preparation failed.

        `results` begins with the results of their preparation.
        """
        for (sql, server_statement), result in zip(new.items(), results, strict=False):
            # It stays prepared even if a later statement failed.
            if result.status == ExecStatus.COMMAND_OK or not self._prepares:
                self._server_statements[sql] = server_statement

    def _new(self, sql: str) -> ServerStatement:
        """Return a new statement of this connection, not yet sent, with an unused name if it is to be prepared."""
        return ServerStatement(self, sql, next(self._names) if self._prepares else None)


def _flush(pgconn: PGconn) -> PQGen[None]:
    """Send what does not fit in the socket's buffer (psycopg wait generator).

    Reads meanwhile, because the server may stop reading until this client does.
    """
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
