"""What if every statement forgot its owner? With `WITHOUT_WHERE` set, all do, on PostgreSQL, in the whole run."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BinaryExpression, BindParameter
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators


def forget_the_owner() -> None:
    """Compile `user_id = …` to `true` from now on."""

    @compiles(BinaryExpression, "postgresql")
    def compile_without(element: Any, compiler: Any, **options: Any) -> str:
        names_owner = getattr(element.left, "name", None) == "user_id" and isinstance(element.right, BindParameter)
        if names_owner and element.operator is operators.eq:
            return "true"
        text: str = compiler.visit_binary(element, **options)
        return text
