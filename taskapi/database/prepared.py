"""Statements compiled once by SQLAlchemy Core and then executed by the driver directly: those of frequent requests.

Core's work per execution (building the statement, looking up its compiled text, cursor and result objects) costs
several times the work of the driver. `fetch` (transactions.py) executes these statements.
"""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.dialects import registry
from sqlalchemy.sql.dml import UpdateBase

from .pipeline import PipelinedStatement, TimeoutConnection
from .sqlite import SQLiteConnection
from .statement_names import definition, register

Converter = Callable[[Any], Any]

Rows = Sequence[Any]
"""Named tuples of a statement's columns; if several columns have one name, the first is reachable by it."""

Statement = Select[*tuple[Any, ...]] | UpdateBase

# Dialects used only to compile SQL; execution goes straight to psycopg and sqlite3.
_POSTGRESQL: Dialect = registry.load("postgresql.psycopg")(paramstyle="numeric_dollar")
_SQLITE: Dialect = registry.load("sqlite")()

_named_tuple: Callable[..., Any] = namedtuple  # noqa: PYI024  the names are those of a statement


class Prepared:
    """A statement that returns rows and whose values are all `bindparam`s; compiled at its first use, per dialect."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        made_in = sys._getframe(1)  # noqa: SLF001  documented; a name as an argument would repeat the variable's
        self._made_in = made_in.f_globals["__name__"], made_in.f_code.co_qualname

    @cached_property
    def name(self) -> str:
        """Where the statement is defined, such as `tasks.queries._LIVE_TASK`, for spans."""
        return definition(*self._made_in, self)

    def __call__(self, **parameters: Any) -> BoundStatement:
        """Bind values to the statement's parameters, without executing it."""
        return BoundStatement(self, parameters)

    @cached_property
    def on_postgresql(self) -> Compiled:
        """The statement for PostgreSQL, as this module's `Compiled` (SQL with `$1`…); made at the first use."""
        return self._compile(_POSTGRESQL)

    @cached_property
    def on_sqlite(self) -> Compiled:
        """The statement for SQLite, as this module's `Compiled` (SQL with `?`, converters); made at the first use."""
        return self._compile(_SQLITE)

    def _compile(self, dialect: Dialect) -> Compiled:
        """Compile the statement for a dialect, and register its name by its text."""
        compiled = Compiled(self._statement, dialect)
        register(compiled.sql, lambda: self.name)
        return compiled


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A prepared statement with values for its parameters."""

    statement: Prepared
    parameters: Mapping[str, Any]


class Compiled:
    """A statement compiled for one dialect: its text, the converters of its values, and of the cells of its rows."""

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        columns = list(statement.exported_columns)
        self.sql = str(compiled)
        names: Sequence[str] = compiled.positiontup
        self._values_in_order = _item_getter(names)
        binders = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
        self._bind_processors: list[tuple[int, Converter]] = [
            (index, convert) for index, convert in enumerate(binders) if convert
        ]
        self._constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self.row = _row_maker([column.key for column in columns], processors)
        """A function that makes a named tuple of the driver's cells, which it converts if a column needs it."""

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the converted values, and the statement's constants, in the order of the placeholders."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        values = [*self._values_in_order(parameters)]
        for index, convert in self._bind_processors:
            values[index] = convert(values[index])
        return values


def _row_maker(names: Sequence[str | None], processors: Sequence[Converter | None]) -> Converter:
    """Return a function that makes a named tuple of the cells of a row, as SQLAlchemy's result processors do.

    If a column needs a conversion it is one expression, like that of `namedtuple`: its source has column numbers only.
    """
    row = _named_tuple("Row", names, rename=True)
    # Same as the named tuple's `_make`, without its check of the number of cells, which the statement fixes.
    if not any(processors):
        return partial(tuple.__new__, row)
    cells = "".join(f"convert{i}(cells[{i}])," if convert else f"cells[{i}]," for i, convert in enumerate(processors))
    names_of_values = {f"convert{i}": convert for i, convert in enumerate(processors) if convert}
    maker: Converter = eval(f"lambda cells: new(row, ({cells}))", {**names_of_values, "new": tuple.__new__, "row": row})  # noqa: S307
    return maker


def _item_getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return a function that returns the values with these names of a mapping, in their order."""
    # The result of `itemgetter` is a tuple for two names or more only.
    return itemgetter(*names) if len(names) > 1 else lambda parameters: [parameters[name] for name in names]


def execute_on_sqlite(connection: SQLiteConnection, calls: Sequence[BoundStatement]) -> list[Rows]:
    """Execute the calls in order; return one list of rows per call. A long result yields to other requests."""
    results: list[Rows] = []
    for call in calls:
        statement = call.statement.on_sqlite
        make = statement.row
        results.append([make(cells) for cells in connection.rows(statement.sql, statement.values(call.parameters))])
    return results


def execute_on_postgresql(
    connection: TimeoutConnection,
    before: Sequence[PipelinedStatement],
    calls: Sequence[BoundStatement],
    after: Sequence[PipelinedStatement] = (),
) -> list[Rows]:
    """Execute the statements `before`, the calls and those `after` in one round trip; return the rows of each call."""
    pipeline = list(before)
    for call in calls:
        statement = call.statement.on_postgresql
        pipeline.append(PipelinedStatement(statement.sql, statement.values(call.parameters), statement.row))
    pipeline += after
    return connection.run_pipeline(pipeline)[len(before) : len(pipeline) - len(after)]
