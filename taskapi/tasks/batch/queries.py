"""Apply the operations of a batch in one transaction, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...auth.tokens import User
from ...concurrency.cooperative import wait_for_turn
from ...database.transactions import fetch, writes
from .. import queries
from ..moves import queries as moves
from ..recurrence.occurrences import search_budget
from ..statements.errors import DOMAIN_ERRORS
from ..statements.rows import TaskRow
from ..trash import queries as trash
from . import pipelines
from .pipelines import PIPELINED_OPERATIONS, Pipelined

_ALONE = frozenset({"restore", "move"})
"""Operations that are always applied by themselves: they read other rows."""

MAX_SPANS = 24_000
"""Spans that all searches for next due dates of a batch may examine, about 30 ms; common rules take 1 to 10 each."""


WORK_AT_A_TIME, WORK_ALONE = 20, 10
"""Work before other requests run, and that on an operation that is applied by itself (2 to 3.5 ms). The unit is an
operation that is sent with others, 0.2 ms. A smaller slice would mean more waits while SQLite's write lock is held."""


class OperationFailed(Exception):
    """The operation at `index` of a batch failed because of `cause`, one of `DOMAIN_ERRORS`; all are rolled back."""

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__()
        self.index = index
        self.cause = cause


@writes
def apply(user: User, operations: Sequence[Mapping[str, Any]], zone: str | None) -> list[TaskRow | None]:
    """Apply the operations in order, in one transaction; return the task after each, None for a deleted one.

    Joins the caller's transaction, if any; otherwise commits. `operations` are as `OperationIn` loads them, `zone` is
    the user's time zone (None: UTC). Yields to other requests in between, with the user's row locked. Raises
    `OperationFailed`, also if the searches for next due dates exceed `MAX_SPANS`.
    """
    batch = _Batch(user, operations, zone)
    with search_budget(MAX_SPANS):
        work = 0
        for index, operation in enumerate(operations):
            pipelined = batch.prepare(index, operation)
            if pipelined is None:
                batch.send()
                batch.apply(index, operation)
            else:
                batch.add(pipelined)
            work += WORK_ALONE if pipelined is None else _work_pipelined(operation)
            if work >= WORK_AT_A_TIME:
                work = 0
                wait_for_turn()
        batch.send()
    return batch.rows


class _Batch:
    """A batch that is being applied: the results so far (`rows`), and the operations that have not been sent yet."""

    def __init__(self, user: User, operations: Sequence[Mapping[str, Any]], zone: str | None) -> None:
        self._user, self._operations, self._zone = user, operations, zone
        self._pending: list[Pipelined] = []
        self._current: dict[int, TaskRow] | None = None
        """Live tasks by id, as they are, without those that an operation may have changed. None: read them again."""
        self.rows: list[TaskRow | None] = []

    def prepare(self, index: int, operation: Mapping[str, Any]) -> Pipelined | None:
        """Prepare the operation at `index` to be sent with others; None if it must be applied by itself.

        Before that it locks the user's row and reads the live tasks of this and the following operations, if they have
        not been read since a move. Raises `OperationFailed`: of a pending operation that fails, otherwise of this one.
        """
        if operation["op"] in _ALONE or len(self._operations) == 1:
            return None
        if self._current is None and operation["op"] != "create":
            self._current = pipelines.lock_and_read(self._user, self._operations[index:])
        try:
            return pipelines.prepare(self._user, operation, self._current or {})
        except DOMAIN_ERRORS as error:
            self.send()  # an earlier operation may fail: its error comes first
            raise OperationFailed(index, error) from error

    def add(self, pipelined: Pipelined) -> None:
        """Append an operation to the pending ones; send these when there are `PIPELINED_OPERATIONS`.

        Later operations on a task that it may change are then applied by themselves. Raises as `send` does.
        """
        self._pending.append(pipelined)
        if self._current and pipelined.statements:
            row = self._current.pop(pipelined.operation.get("id", 0), None)
            # A later operation on this task may remove the next task of its series.
            self._current.pop(0 if row is None else row.next_task_id, None)
        if len(self._pending) == PIPELINED_OPERATIONS:
            self.send()

    def send(self) -> None:
        """Send the statements of the pending operations in one round trip, and append their results to `rows`.

        Without statements it sends nothing. Raises `OperationFailed` for the first operation that failed.
        """
        pending, self._pending = self._pending, []
        statements = [statement for each in pending for statement in each.statements]
        results = iter(fetch(*statements) if statements else ())
        for each in pending:
            try:
                self.rows.append(each.result(self._user, list(islice(results, len(each.statements)))))
            except DOMAIN_ERRORS as error:
                raise OperationFailed(len(self.rows), error) from error

    def apply(self, index: int, operation: Mapping[str, Any]) -> None:
        """Apply an operation by itself, and append its result to `rows`; call `send` before it.

        Later operations on a task that it may change are then applied by themselves; after a move, the tasks are read
        again. Raises `OperationFailed`.
        """
        try:
            row = _apply_one(self._user, operation, self._zone)
        except DOMAIN_ERRORS as error:
            raise OperationFailed(index, error) from error
        self.rows.append(row)
        if operation["op"] == "move":
            self._current = None  # perhaps all tasks were renumbered
        elif self._current:
            before = self._current.pop(operation["id"], None)
            for each in (before, row):
                self._current.pop(0 if each is None else each.next_task_id, None)


def _work_pipelined(operation: Mapping[str, Any]) -> int:
    """Return the work on an operation that is sent with others, in the unit of `WORK_AT_A_TIME`.

    It is 1, and 1 more for each full 1,000 characters of its description.
    """
    return 1 + len(operation.get("task", {}).get("description") or "") // 1000


def _apply_one(user: User, operation: Mapping[str, Any], zone: str | None) -> TaskRow | None:
    """Apply one operation of any kind; return the task after it, None for one moved to the trash.

    Joins the transaction of the batch. Raises `DOMAIN_ERRORS`.
    """
    name = operation["op"]
    if name == "create":
        return queries.add(user, operation["task"])
    target = (user, operation["id"], {operation["version"]} if "version" in operation else None)
    if name == "update":
        return queries.change(*target, operation["task"], zone)
    if name == "complete":
        return queries.change(*target, {"completed": operation["completed"]}, zone)
    if name == "restore":
        return trash.restore(*target)
    if name == "move":
        side = "before" if "before" in operation else "after"
        return moves.move(*target, before=side == "before", other=operation[side])
    trash.remove(*target)
    return None
