"""Find the owners (`user_id`) that an SQL statement is restricted to, without a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from taskapi.database.base import db

OWNED = "|".join(sorted(db.metadata.tables))
TABLES = re.compile(rf"\b({OWNED})\b(?!\.)")
PLACEHOLDER = r"(\?|%\((\w+)\)s(?:::\w+)?)"
CTE = r"\s*(?:WITH counters AS\s*\(\s*\))?\s*"
"""What may precede an INSERT: nothing, or a statement that `parts` has blanked out."""


SIGN_OUT_TABLES = {"ended_sessions", "seen_notices"}
"""Tables that logout tokens write to and no endpoint of the API; tests/auth/test_queries.py checks their statements."""


def find_owners(sql: str, parameters: Any) -> dict[str, list[Any]]:
    """Return the owners in the parameters of a statement for each table that it names; no owners if it names none.

    AssertionError if a part of the statement reaches rows of other users.
    """
    found: dict[str, list[Any]] = {}
    for part in parts(sql):
        for table, users in owners_of_part(part, parameters, sql).items():
            assert users or part == sql, f"a part of the statement leaves the owner of {table} out: {sql}"
            found.setdefault(table, []).extend(users)
    return found


def parts(sql: str) -> Iterator[str]:
    """Yield the subqueries of a statement, then the statement without them; blanks keep the position of each character."""
    while inner := list(re.finditer(r"\(\s*(?:SELECT|INSERT|UPDATE)\b", sql)):
        start = inner[-1].start()  # the last one contains no other
        depth, end = 0, start
        for end in range(start, len(sql)):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if depth == 0:
                break
        yield " " * (start + 1) + sql[start + 1 : end] + " " * (len(sql) - end)
        sql = sql[: start + 1] + " " * (end - start - 1) + sql[end:]
    yield sql


def owners_of_part(sql: str, parameters: Any, whole: str) -> dict[str, list[Any]]:
    """Return the owners for each table of a statement without subqueries; `whole` is the statement around it."""
    found: dict[str, list[Any]] = {
        table: [] for table in TABLES.findall(re.sub(r"\bRETURNING\b.*", "", sql, flags=re.DOTALL))
    }
    insert = re.match(rf"{CTE}INSERT INTO (\w+) \(([^)]*)\) VALUES (.*?)(?: ON CONFLICT| RETURNING|$)", sql, re.DOTALL)
    if insert:
        table, columns, rows = insert.groups()
        place = [column.strip() for column in columns.split(",")].index("user_id")
        per_row = len(columns.split(","))
        positions = list(re.finditer(PLACEHOLDER, rows))
        assert len(positions) % per_row == 0, f"a value is not a parameter: {sql}"
        for first in range(0, len(positions), per_row):
            found[table].append(bound(whole, parameters, insert.start(3) + positions[first + place].start()))
        return found
    if not found:
        return found  # the empty list of an IN names no table
    copied = re.match(rf"{CTE}INSERT INTO (\w+) \(([^)]*)\) SELECT (.*)", sql, re.DOTALL)
    where = re.search(r"\bWHERE\b(.*?)(?:\bORDER BY\b|\bLIMIT\b|\bRETURNING\b|$)", sql, re.DOTALL)
    if where is None:
        return found
    for match in re.finditer(rf"\b(\w+)\.user_id = {PLACEHOLDER}", where[1]):
        found.setdefault(match[1], []).append(bound(whole, parameters, where.start(1) + match.start(2)))
    assert re.match(rf"\s*\(?({OWNED}|counters)\.user_id\b", where[1]), (
        f"the WHERE does not start with the owner: {sql}"
    )
    top_level = where[1]
    while (flatter := re.sub(r"\([^()]*\)", "", top_level)) != top_level:
        top_level = flatter
    assert not re.search(r"\bOR\b", top_level), f"an OR next to the owner condition reaches rows of other users: {sql}"
    if copied:
        table, columns, selected = copied.groups()
        place = [column.strip() for column in columns.split(",")].index("user_id")
        while (flatter := re.sub(r"\([^()]*\)", "", selected)) != selected:
            selected = flatter
        source = re.fullmatch(r"(\w+)\.user_id", selected.split(" FROM ")[0].split(", ")[place].strip())
        assert source, f"the owner of copied rows is not the owner of their source: {sql}"
        found[table] = found[source[1]]
    return found


def bound(sql: str, parameters: Any, position: int) -> Any:
    """Return the parameter of the placeholder at a position."""
    named = re.compile(PLACEHOLDER).match(sql, position)
    assert named
    return parameters[named[2]] if named[2] else parameters[sql[:position].count("?")]
