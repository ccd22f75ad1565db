"""SQL conditions on a list of values that is sent as one parameter: an array on PostgreSQL, a JSON array on SQLite.

An `IN` has one placeholder per value, so its text depends on the number of values that a client sends: each number is
another statement to parse, prepare and cache, and SQLite refuses more than 32,766 parameters. Here the text is fixed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

import orjson
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Dialect,
    Text,
    bindparam,
    literal,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

from .text import strpos


class _List(TypeDecorator[Collection[Any]]):
    """Bind type of a list of integers or of strings: an array on PostgreSQL, a JSON array on SQLite."""

    impl = Text
    cache_ok = True

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type to bind: ARRAY on PostgreSQL; Text, for the JSON array, on SQLite."""
        return dialect.type_descriptor(ARRAY(self.item) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        """Return the values as a list on PostgreSQL, as the text of a JSON array on SQLite; None is an empty list."""
        values = [*(value or ())]
        return values if dialect.name == "postgresql" else orjson.dumps(values).decode()


class _IsOneOf(FunctionElement[bool]):
    """The clauses of `is_one_of`: the column and the list."""

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: OperatorType | None = None) -> Self:  # noqa: ARG002
        """Return this condition unchanged, also as an operand of AND.

        SQLAlchemy would compare a boolean function there with 1 on SQLite, which has no booleans, and SQLite would then
        use no index.
        """
        return self


class _HasEvery(FunctionElement[bool]):
    """The clauses of `has_every`: the text column and the list of parts."""

    inherit_cache = True
    type = Boolean()


def integers(name: str) -> BindParameter[Any]:
    """Return a bind parameter for a list of integers, for a prepared statement."""
    return bindparam(name, type_=_List(BigInteger))


def is_one_of(column: InstrumentedAttribute[Any], values: Collection[int] | BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that the column is one of the integers (false for none); it can use an index."""
    return _IsOneOf(column, values if isinstance(values, BindParameter) else literal(values, _List(BigInteger)))


def has_every(text: InstrumentedAttribute[Any], parts: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that the text contains each of the strings as a substring (true for none)."""
    return _HasEvery(text, literal(parts, _List(Text)))


@compiles(_IsOneOf, "postgresql")
def _is_one_of_array(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `is_one_of` for PostgreSQL: the column equals any element of the parameter, which is an array."""
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_IsOneOf, "sqlite")
def _is_one_of_json(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `is_one_of` for SQLite: the column is in the values of the parameter, which is a JSON array."""
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  compiled clauses


@compiles(_HasEvery, "postgresql")
def _has_every_of_array(element: _HasEvery, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `has_every` for PostgreSQL: the text contains each string of the parameter, which is an array."""
    text, parts = element.clauses
    # The text column has COLLATE "C" (models.Bytewise); strpos needs the same collation on both sides.
    found_at = compiler.process(strpos(text, literal_column('part COLLATE "C"')), **options)
    return f"NOT EXISTS (SELECT FROM unnest({compiler.process(parts, **options)}) AS part WHERE {found_at} = 0)"


@compiles(_HasEvery, "sqlite")
def _has_every_of_json(element: _HasEvery, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `has_every` for SQLite: the text contains each string of the parameter, which is a JSON array."""
    text, parts = element.clauses
    found_at = compiler.process(strpos(text, literal_column("part.value")), **options)
    values = compiler.process(parts, **options)
    return f"NOT EXISTS (SELECT 1 FROM json_each({values}) AS part WHERE {found_at} = 0)"  # noqa: S608  compiled clauses
