"""Statements that are compiled once, and then go to the driver and back without SQLAlchemy: those of every request.

Core says what a statement is, for either database, as everywhere. What it does anew for each execution (building,
looking the compiled text up, a cursor, a result) costs several times the work of the driver. `fetch`
(unit_of_work.py) sends them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.dialects import registry
from sqlalchemy.sql.dml import UpdateBase

from .pipeline import PipelinedStatement, TimeoutConnection
from .sqlite import SQLiteConnection

Convert = Callable[[Any], Any]

Rows = Sequence[Any]
"""Named tuples of a statement's columns; of several columns of one name the first has it."""

Statement = Select[*tuple[Any, ...]] | UpdateBase

# Only for their words: what is compiled for them is sent by the drivers themselves.
_POSTGRESQL: Dialect = registry.load("postgresql.psycopg")(paramstyle="numeric_dollar")
_SQLITE: Dialect = registry.load("sqlite")()

_named_tuple: Callable[..., Any] = namedtuple  # noqa: PYI024  the names are those of a statement


class Prepared:
    """A statement of which every value is a parameter (`bindparam`), and which gives rows."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement

    def __call__(self, **parameters: Any) -> BoundStatement:
        """The statement with its values."""
        return BoundStatement(self, parameters)

    @cached_property
    def on_postgresql(self) -> Compiled:
        """With `$1`, `$2`… for its values."""
        return Compiled(self._statement, _POSTGRESQL)

    @cached_property
    def on_sqlite(self) -> Compiled:
        """With `?` for its values."""
        return Compiled(self._statement, _SQLITE)


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A statement with its values."""

    statement: Prepared
    parameters: Mapping[str, Any]


class Compiled:
    """A statement as one database reads it: its text, how values go in, and how rows come out."""

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        columns = list(statement.exported_columns)
        self.sql = str(compiled)
        self._in = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup
        ]
        self._constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        out = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._out: list[tuple[int, Convert]] = [(place, convert) for place, convert in enumerate(out) if convert]
        row = _named_tuple("Row", [column.key for column in columns], rename=True)
        # What its `_make` does, without counting the cells of each row again: a statement gives one for each column.
        self._make: Convert = partial(tuple.__new__, row)

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """What is sent, in its order."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        return [convert(parameters[name]) if convert else parameters[name] for name, convert in self._in]

    @property
    def row(self) -> Convert:
        """Makes a named tuple of the cells that have come."""
        return self._converted if self._out else self._make

    def _converted(self, cells: Sequence[Any]) -> Any:
        row = list(cells)
        for place, convert in self._out:
            row[place] = convert(row[place])
        return self._make(row)


def on_sqlite(connection: SQLiteConnection, calls: Sequence[BoundStatement]) -> list[Rows]:
    """The rows of each, one after the other."""
    found: list[Rows] = []
    for call in calls:
        statement = call.statement.on_sqlite
        make = statement.row
        found.append([make(cells) for cells in connection.rows(statement.sql, statement.values(call.parameters))])
    return found


def on_postgresql(
    connection: TimeoutConnection, first: Sequence[PipelinedStatement], calls: Sequence[BoundStatement]
) -> list[Rows]:
    """The rows of each, in one round trip, after what must be said `first`."""
    messages = list(first)
    for call in calls:
        statement = call.statement.on_postgresql
        messages.append(PipelinedStatement(statement.sql, statement.values(call.parameters), statement.row))
    return connection.run_pipeline(messages)[len(first) :]
