"""Names of statements for spans: where the code defines a prepared statement, or the verb and the table of another."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

CONTROL = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "set_current_user"})
"""Names of the statements that the service sends around those of a request; they are not counted as its statements."""

_SET_USER = "SELECT set_config('taskapi.user_id'"

_VERB = re.compile(r"\s*(\w+)")
_TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE)\s+"?(\w+)', re.IGNORECASE)

_names: dict[str, Callable[[], str]] = {}
"""For the text of each prepared statement that was compiled, a function that returns its name."""


def register(sql: str, name: Callable[[], str]) -> None:
    """Set the function that returns the name of the statement with this text."""
    _names[sql] = name


def statement_name(sql: str) -> str:
    """Return the name of a statement; never anything of its values, which are not in the text."""
    if name := _names.get(sql):
        return name()
    if sql.startswith(_SET_USER):
        return "set_current_user"
    verb, table = _VERB.match(sql), _TABLE.search(sql)
    return " ".join(found[1] for found in (verb, table) if found) or "statement"


def definition(module: str, function: str, target: object) -> str:
    """Return where `target` is defined: the module, without the package, and the variable that holds it.

    If no variable does, `function`, which made it: statements that are made on demand are in a cache.
    """
    for name, value in vars(sys.modules[module]).items():
        for path in _paths(value, target, module):
            return f"{_short(module)}.{name}{path}"
    return f"{_short(module)}.{function}"


def _paths(value: Any, target: object, module: str) -> Iterator[str]:
    """Yield the path from `value` to `target`: through collections, and attributes of objects of that module."""
    if value is target:
        yield ""
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _paths(item, target, module)
    elif isinstance(value, tuple):
        for item in value:
            yield from _paths(item, target, module)
    elif type(value).__module__ == module and hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            if item is target:
                yield f".{name}"


def _short(module: str) -> str:
    """Return the name of a module without that of the package."""
    return module.partition(".")[2]
