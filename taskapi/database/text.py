"""SQL that searches for a substring: `strpos` on PostgreSQL, `instr` on SQLite."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_FUNCTIONS = {"postgresql": "strpos", "sqlite": "instr"}


class _Strpos(FunctionElement[int]):
    """A call of the dialect's function in `_FUNCTIONS`."""

    inherit_cache = True
    type = Integer()


def strpos(text: ColumnElement[Any], part: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the SQL expression for the 1-based index of `part` in `text`; 0 if `text` does not contain it."""
    return _Strpos(text, part)


@compiles(_Strpos)
def _compile_strpos(element: _Strpos, compiler: SQLCompiler, **options: Any) -> str:
    """Compile `_Strpos` to a call of `strpos` (PostgreSQL) or `instr` (SQLite)."""
    return f"{_FUNCTIONS[compiler.dialect.name]}({compiler.process(element.clauses, **options)})"
