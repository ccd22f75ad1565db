"""Several changes in one request: all of them are made, or none."""

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
"""What the searches for next due dates may examine in one batch, about 30 ms; rules in common use take 1 to 10 each."""


class OperationFailed(Exception):
    """The operation at `index` cannot be made, because of `cause`; so none was."""

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__()
        self.index = index
        self.cause = cause


@writes
def apply(user: User, operations: Sequence[Mapping[str, Any]]) -> list[TaskRow | None]:
    """Make the operations one after the other, in one transaction; the task after each, None for one that is gone.

    Raises `OperationFailed` around what stood in the way of one.
    """
    rows = []
    with search_budget(MAX_SPANS):
        for index, operation in yielding(enumerate(operations), every=4):
            try:
                rows.append(_perform(user, operation))
            except DOMAIN_ERRORS as refusal:
                raise OperationFailed(index, refusal) from refusal
    return rows


def _perform(user: User, operation: Mapping[str, Any]) -> TaskRow | None:
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
