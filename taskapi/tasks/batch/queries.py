"""Apply the operations of a batch in one transaction, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...auth.tokens import User
from ...concurrency.cooperative import yielding
from ...database.unit_of_work import writes
from .. import queries
from ..moves import queries as moves
from ..recurrence.occurrences import search_budget
from ..statements.errors import DOMAIN_ERRORS
from ..statements.rows import TaskRow
from ..trash import queries as trash

MAX_SPANS = 24_000
"""Spans that all searches for next due dates of a batch may examine, about 30 ms; common rules take 1 to 10 each."""


class OperationFailed(Exception):
    """The operation at `index` failed because of `cause`, a domain error; the batch is rolled back."""

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__()
        self.index = index
        self.cause = cause


@writes
def apply(user: User, operations: Sequence[Mapping[str, Any]]) -> list[TaskRow | None]:
    """Apply the operations in order, in one transaction; return the task after each, None for a deleted one.

    `operations` are as `OperationIn` loads them. Raises `OperationFailed`.
    """
    rows = []
    with search_budget(MAX_SPANS):
        for index, operation in yielding(enumerate(operations), every=4):
            try:
                rows.append(_apply_one(user, operation))
            except DOMAIN_ERRORS as error:
                raise OperationFailed(index, error) from error
    return rows


def _apply_one(user: User, operation: Mapping[str, Any]) -> TaskRow | None:
    """Apply one operation; return the task after it, None for a deletion. Raises `DOMAIN_ERRORS`."""
    name = operation["op"]
    if name == "create":
        return queries.add(user, operation["task"])
    target = (user, operation["id"], {operation["version"]} if "version" in operation else None)
    if name == "update":
        return queries.change(*target, operation["task"])
    if name == "complete":
        return queries.change(*target, {"completed": operation["completed"]})
    if name == "restore":
        return trash.restore(*target)
    if name == "move":
        side = "before" if "before" in operation else "after"
        return moves.move(*target, before=side == "before", other=operation[side])
    trash.remove(*target)
    return None
