"""SQL for the position of a substring: `strpos` on PostgreSQL, `instr` on SQLite."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_FUNCTIONS = {"postgresql": "strpos", "sqlite": "instr"}


class _Position(FunctionElement[int]):
    """A call of the dialect's function in `_FUNCTIONS`."""

    inherit_cache = True
    type = Integer()


def position(text: ColumnElement[Any], part: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the SQL expression for the 1-based position of `part` in `text`; 0 if `text` does not contain it."""
    return _Position(text, part)


@compiles(_Position)
def _compile_position(element: _Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"{_FUNCTIONS[compiler.dialect.name]}({compiler.process(element.clauses, **options)})"
