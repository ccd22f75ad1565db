"""Compile every statement without its `user_id = …` conditions on PostgreSQL: row-level security has to replace them."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter
from sqlalchemy.ext.compiler import compiles, deregister
from sqlalchemy.sql import operators

from taskapi.database.prepared import Prepared

ROOT = Path(__file__).resolve().parent.parent


def remove_owner_conditions() -> None:
    """Compile `user_id = :value` to `true` from now on, on PostgreSQL."""

    @compiles(BinaryExpression, "postgresql")
    def compile_without_owner(element: Any, compiler: Any, **options: Any) -> str:
        names_owner = getattr(element.left, "name", None) == "user_id" and isinstance(element.right, BindParameter)
        if names_owner and element.operator is operators.eq:
            return "true"
        text: str = compiler.visit_binary(element, **options)
        return text


@contextmanager
def owner_conditions_removed() -> Iterator[None]:
    """Compile without owner conditions inside the block; build the application there, for its engine caches texts."""
    remove_owner_conditions()
    _discard_compiled_texts()
    try:
        yield
    finally:
        deregister(BinaryExpression)
        _discard_compiled_texts()


def _discard_compiled_texts() -> None:
    gc.unfreeze()  # the statements of modules are frozen (pytest_collection_finish), and not listed then
    for each in gc.get_objects():
        if type(each) is Prepared:
            vars(each).pop("on_postgresql", None)
    gc.freeze()


def failures_without_owner_conditions(*arguments: str) -> set[str]:
    """Run tests in a process of their own with `WITHOUT_WHERE` set; return those that fail on PostgreSQL."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "postgresql", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--basetemp", f"{folder}/pytest"],
            cwd=ROOT,
            env={**os.environ, "WITHOUT_WHERE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert re.search(r"\d\d passed", done.stdout), done.stdout[-5000:]
    return {
        line.split(" ")[1].partition("::")[2] for line in re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    }
