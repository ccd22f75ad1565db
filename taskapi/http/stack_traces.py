"""Stack traces for the log, without the messages of exceptions, which may quote the content of a task."""

from __future__ import annotations

import traceback


def stack_trace(error: BaseException) -> str:
    """Format an exception and its causes without their messages, which may quote the content of a task.

    PostgreSQL quotes the values of a violated key or the whole row, a parser quotes the text. The result has the types,
    the lines of code, and SQLSTATE, table, column and constraint, which contain no values.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    lines: list[str] = []
    for current in reversed(chain):
        lines += [*traceback.format_tb(current.__traceback__), f"{type(current).__module__}.{_describe(current)}\n"]
    return "".join(lines)


def _describe(error: BaseException) -> str:
    """Return the class name of an exception; of a psycopg or sqlite3 one also its code, and the names of the objects.

    Objects are the table, column and constraint, which psycopg knows. The message is left out.
    """
    name, diagnostics = type(error).__qualname__, getattr(error, "diag", None)
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    described = [f"{name}={value}" for name in names if (value := getattr(diagnostics, name, None))]
    if code := getattr(error, "sqlite_errorname", None):
        described.append(code)
    return " ".join([name, *described])
