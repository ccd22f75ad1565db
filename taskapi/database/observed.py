"""Connections that count their statements and round trips for the record of a request, and make a span of each.

They are used only if the log is in JSON or traces are exported: otherwise the plain connections run without a check.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine, event

from ..telemetry.request_record import round_trip
from .pipeline import PipelinedStatement, TimeoutConnection
from .sqlite import SQLiteConnection
from .statement_names import CONTROL, statement_name

_OPEN = "taskapi_round_trip"
"""Key of the `info` of a SQLAlchemy execution context for the round trip that is in progress."""


class ObservedConnection(TimeoutConnection):
    """A PostgreSQL connection; each pipeline is a round trip."""

    def run_pipeline(self, statements: Sequence[PipelinedStatement]) -> list[Sequence[Any]]:
        """Do what `TimeoutConnection` does, and observe it."""
        with _observe("postgresql", [statement_name(statement.sql) for statement in statements]):
            return super().run_pipeline(statements)


class ObservedSQLiteConnection(SQLiteConnection):
    """A SQLite connection; each statement is a round trip."""

    def rows(self, sql: str, values: Sequence[Any]) -> Iterable[Any]:
        """Do what `SQLiteConnection` does, and observe it."""
        with _observe("sqlite", [statement_name(sql)]):
            return super().rows(sql, values)

    def execute_for_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Do what `SQLiteConnection` does, and observe it."""
        with _observe("sqlite", [statement_name(sql)]):
            super().execute_for_each(sql, rows)


def observe_core(engine: Engine) -> None:
    """Observe the statements that SQLAlchemy Core executes on an engine: each is a round trip."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(_connection: Any, _cursor: Any, sql: str, _values: Any, context: Any, _many: Any) -> None:
        observed = _observe(engine.name, [statement_name(sql)])
        observed.__enter__()
        vars(context)[_OPEN] = observed

    @event.listens_for(engine, "after_cursor_execute")
    def end(_connection: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: Any) -> None:
        vars(context).pop(_OPEN).__exit__(None, None, None)

    @event.listens_for(engine, "handle_error")
    def fail(failure: Any) -> None:
        observed = vars(failure.execution_context).pop(_OPEN, None) if failure.execution_context else None
        if observed:
            error = failure.original_exception
            observed.__exit__(type(error), error, None)


def _observe(system: str, names: Sequence[str]) -> AbstractContextManager[object]:
    """Return the context manager of a round trip with the statements of these names."""
    return round_trip(system, names, sum(name not in CONTROL for name in names))
