"""A statement as PostgreSQL executes it for one connection: prepared by a name, or sent with its text each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from ..concurrency.cooperative import wait_for_turn

SLICE_ROWS = 400
"""Rows that are converted before other requests run: 0.7 to 1.7 ms."""


class ServerStatement:
    """A statement of one connection; the server knows it by `name`, or parses its text with each execution (None)."""

    def __init__(self, connection: psycopg.Connection[Any], sql: str, name: bytes | None) -> None:
        self._pgconn = pgconn = connection.pgconn
        self._name, self._text = name, sql.encode()
        self._send: Callable[[Sequence[Any]], None] = (
            partial(pgconn.send_query_prepared, name) if name else partial(pgconn.send_query_params, self._text)
        )
        self._transformer = Transformer(connection)
        self._formats: list[PyFormat] = []
        """The format of each value: text."""

    def prepare(self) -> None:
        """Queue the preparation, whose result precedes those of the executions; do nothing without a name."""
        if self._name:
            self._pgconn.send_prepare(self._name, self._text)

    def send(self, values: Sequence[Any]) -> None:
        """Queue an execution with these values, without a wait for the result; the first call fixes their number."""
        if values and not self._formats:
            self._formats = [PyFormat.TEXT] * len(values)
        self._send(self._transformer.dump_sequence(values, self._formats))

    def load_rows(self, result: PGresult, row: Callable[[Sequence[Any]], Any]) -> Sequence[Any]:
        """Return the rows of a result, each made with `row`; () for a statement without a result.

        After each `SLICE_ROWS` yields to other requests, unless a transaction is open, which may hold a lock.
        """
        if not result.nfields:
            return ()
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, min(count := result.ntuples, SLICE_ROWS), row)
        if count > SLICE_ROWS:
            in_transaction = self._pgconn.transaction_status != TransactionStatus.IDLE
            for start in range(SLICE_ROWS, count, SLICE_ROWS):
                if not in_transaction:  # which may hold the lock of the user's row
                    wait_for_turn()
                rows += self._transformer.load_rows(start, min(start + SLICE_ROWS, count), row)
        self._transformer.set_pgresult(None)  # drop the reference, which keeps the result in memory
        return rows
