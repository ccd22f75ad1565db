"""Connections that count statements and measure the time of their results, for a service that serves metrics.

The connections of a service that serves none are instances of the classes that these are derived from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, event

from ..telemetry.memory import process
from ..telemetry.metrics import DATABASE_SECONDS, ROUND_TRIPS, STATEMENTS
from .observed import ObservedConnection, ObservedSQLiteConnection
from .pipeline import PipelinedStatement, TimeoutConnection
from .sqlite import SQLiteConnection

_clock = time.perf_counter

# The numbers are written directly: `Counter.add` would take three times as many bytecodes, for each statement.
_STATEMENTS, _ROUND_TRIPS, _SECONDS = STATEMENTS.first, ROUND_TRIPS.first, DATABASE_SECONDS.first


class MeasuredConnection(TimeoutConnection):
    """A PostgreSQL connection that counts its pipelines."""

    def run_pipeline(self, statements: Sequence[PipelinedStatement]) -> list[Sequence[Any]]:
        """Execute statements in one round trip, as `TimeoutConnection` does, and count them."""
        started = _clock()
        try:
            return super().run_pipeline(statements)
        finally:
            cells = process.cells
            cells[_STATEMENTS] += len(statements)
            cells[_ROUND_TRIPS] += 1
            cells[_SECONDS] += _clock() - started


class MeasuredSQLiteConnection(SQLiteConnection):
    """A SQLite connection that counts its statements, but those of SQLAlchemy Core (`count_core_statements`)."""

    def rows(self, sql: str, values: Sequence[Any]) -> Any:
        """Execute a statement, as `SQLiteConnection` does, and count it."""
        started = _clock()
        try:
            return super().rows(sql, values)
        finally:
            cells = process.cells
            cells[_STATEMENTS] += 1
            cells[_SECONDS] += _clock() - started

    def execute_for_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each of the rows, and count it once."""
        started = _clock()
        try:
            super().execute_for_each(sql, rows)
        finally:
            STATEMENTS.add()
            DATABASE_SECONDS.add(amount=_clock() - started)

    def commit(self) -> None:
        """Commit, and count it if a transaction is open: the time in which the data is written to the disk."""
        started, is_open = _clock(), self.in_transaction
        try:
            super().commit()
        finally:
            if is_open:
                STATEMENTS.add()
                DATABASE_SECONDS.add(amount=_clock() - started)


class MeasuredObservedConnection(MeasuredConnection, ObservedConnection):
    """A PostgreSQL connection that counts for the metrics and for the record of the request."""


class MeasuredObservedSQLiteConnection(MeasuredSQLiteConnection, ObservedSQLiteConnection):
    """A SQLite connection that counts for the metrics and for the record of the request."""


def count_core_statements(engine: Engine) -> None:
    """Count each statement that SQLAlchemy Core executes, on PostgreSQL with a round trip.

    One that fails is counted without its time.
    """
    round_trips = 0 if engine.dialect.name == "sqlite" else 1

    def before(_connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001
        STATEMENTS.add()
        ROUND_TRIPS.add(amount=round_trips)
        context._taskapi_started = _clock()  # noqa: SLF001  the execution context is the place for such data

    def after(_connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001
        DATABASE_SECONDS.add(amount=_clock() - context._taskapi_started)  # noqa: SLF001

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
