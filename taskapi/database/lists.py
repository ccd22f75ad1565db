"""SQL conditions on a list of values that is sent as one parameter.

An `IN` has a placeholder for each value, so its text depends on how many values a client sends: every number of them
is another statement to be parsed, prepared and cached, and SQLite refuses more than 32,766 parameters. Here the text
is always the same: the list is an array on PostgreSQL and a JSON array on SQLite.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, ColumnElement, Dialect, Text, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _List(TypeDecorator[Collection[Any]]):
    """A list of integers or of strings as one parameter."""

    impl = Text
    cache_ok = True

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(self.item) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        values = [*(value or ())]
        return values if dialect.name == "postgresql" else orjson.dumps(values).decode()


class _IsOneOf(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()


class _HasEvery(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()


def is_one_of(column: InstrumentedAttribute[Any], values: Collection[int]) -> ColumnElement[bool]:
    """Whether an integer is in the list; an index on the column is used."""
    return _IsOneOf(column, literal(values, _List(BigInteger)))


def has_every(text: InstrumentedAttribute[Any], parts: Collection[str]) -> ColumnElement[bool]:
    """Whether a text contains every string of the list."""
    return _HasEvery(text, literal(parts, _List(Text)))


@compiles(_IsOneOf, "postgresql")
def _is_one_of_array(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_IsOneOf, "sqlite")
def _is_one_of_json(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  compiled clauses


@compiles(_HasEvery, "postgresql")
def _has_every_of_array(element: _HasEvery, compiler: SQLCompiler, **options: Any) -> str:
    text, parts = (compiler.process(clause, **options) for clause in element.clauses)
    # The column is compared byte by byte (models.Bytewise), so the parts must be, too.
    return f"""NOT EXISTS (SELECT FROM unnest({parts}) AS part WHERE strpos({text}, part COLLATE "C") = 0)"""


@compiles(_HasEvery, "sqlite")
def _has_every_of_json(element: _HasEvery, compiler: SQLCompiler, **options: Any) -> str:
    text, parts = (compiler.process(clause, **options) for clause in element.clauses)
    return f"NOT EXISTS (SELECT 1 FROM json_each({parts}) AS part WHERE instr({text}, part.value) = 0)"  # noqa: S608
