"""Compute the rows that an import writes, before its transaction: read existing tasks, merge, fold, compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marshmallow import ValidationError

from ...auth.tokens import User
from ...concurrency.cooperative import yielding, yielding_by_size
from ...database.base import now
from ...http.fields.strict import Violation
from .. import positions
from ..members import DEFAULTS
from ..statements.rows import new_row
from . import import_statements as statements
from .import_numbers import Numbers, Task
from .import_statements import CHUNK, ID, MAX_IMPORTED_ID, NEXT, NO_ROWS, SERIES, RowCounts
from .remaining_rules import remaining_rule

COMPUTED_AT_A_TIME = 10
"""Tasks whose row an import computes before it yields; a text counts for `_work` of them."""

COMPARED_AT_A_TIME = 1_000
"""Tasks whose numbers and positions an import collects before it yields: about 1 ms."""

MAX_EXISTING_BYTES = 16 * 1024 * 1024
"""Maximum bytes of title, description and tags of the existing tasks that an import names.

Their text is in memory at once, in the rows that are written. A full quota of ordinary tasks has 5 MB.
"""

IMPORT_ONLY_MEMBERS = (
    "completed_at",
    "created_at",
    "updated_at",
    "deleted_at",
    "position",
    "series_id",
    "occurrence",
    "next_task_id",
)
"""Members that only an import can set; in other requests the service computes them."""

_COMPARED = ("title", *DEFAULTS, *IMPORT_ONLY_MEMBERS)
"""The members that an import can set; a task of which none differs is unchanged."""

_SERIES_POSITION = ("series_id", "occurrence")


@dataclass
class Plan:
    """The rows that an import writes, and what `imports.write` compares with the stored data before it writes them."""

    revision: int
    """The user's revision before anything was read."""
    rows: list[list[Any]] = field(default_factory=list)
    """As `import_statements.encode` returns them."""
    allocated: int = 0
    """How many numbers are allocated when the rows are written, for tasks and for series."""
    last_kept: int = 0
    """The allocated numbers are above it."""
    unnumbered: list[tuple[list[Any], int, int]] = field(default_factory=list)
    """Those of `rows` that get an allocated number, the index of its column, and which of the numbers it is, from 0."""
    without_position: list[list[Any]] = field(default_factory=list)
    """Those of `rows` whose position depends on the number that they get."""
    renumbered: list[tuple[int, list[Any]]] = field(default_factory=list)
    """The number in the file, and the row, of each task that does not keep its number."""
    moved: list[int] = field(default_factory=list)
    """Ids of existing tasks that get another position in a series."""
    live: int = 0
    """How much the number of live tasks changes."""
    counts: Counter[str] = field(default_factory=lambda: Counter(created=0, updated=0, unchanged=0))
    named_counts: RowCounts = NO_ROWS
    """The counts of the existing tasks whose numbers the document has."""
    series_counts: RowCounts = NO_ROWS
    """The counts of the existing tasks in all series that an imported task belongs to."""


def compute(user: User, tasks: Sequence[Task], *, rules_begin_at_task: bool = False) -> Plan:
    """Return the plan of an import of `tasks`: reads stored tasks, writes nothing, yields to other requests.

    With `rules_begin_at_task`, a rule that is the `remaining_rule` of the stored task counts as unchanged. Holds no
    lock: `imports.write` checks whether what was read has changed since. Raises ValidationError for invalid tasks, and
    if the stored tasks to update hold more than `MAX_EXISTING_BYTES`.
    """
    revision, last_task_id = statements.counters(user)
    plan = Plan(revision)
    named = sorted({number for task in yielding(tasks, every=COMPARED_AT_A_TIME) for number in _numbers_in(task)})
    numbers = Numbers(user, tasks, last_task_id, statements.identities(user, named))
    tombstones = sum(row.purged_at is not None for row in numbers.stored.values())
    plan.named_counts = RowCounts(named, len(numbers.stored), tombstones)
    numbers.assign_ids()
    numbers.assign_series()
    placed = numbers.place()
    plan.series_counts = numbers.series_counts
    if statements.text_bytes(user, [numbers.ids[index] for index in numbers.updates]) > MAX_EXISTING_BYTES:
        detail = f"The tasks named hold more than {MAX_EXISTING_BYTES // 2**20} MiB. Import fewer of them at a time."
        raise ValidationError({"tasks": [Violation("length", detail)]})
    _add_rows(user, plan, numbers, placed, rules_begin_at_task=rules_begin_at_task)
    positions_after = map(_implied_task_id, yielding(tasks, every=COMPARED_AT_A_TIME))
    plan.allocated, plan.last_kept = (
        numbers.pending,
        max(numbers.last_kept, *(last or 0 for last in positions_after), 0),
    )
    return plan


def _numbers_in(task: Task) -> set[int]:
    """Return the numbers that a task of the file has as `id`, `series_id` and `next_task_id`."""
    return {task[name] for name in ("id", "series_id", "next_task_id") if task.get(name) is not None}


def _implied_task_id(task: Task) -> int | None:
    """Return the last id that must be allocated so that all new tasks sort after the task's position.

    0 if they do so anyway. None without a position, for an invalid one, and for one with an id above `MAX_IMPORTED_ID`,
    which the service cannot have assigned.
    """
    last_id = positions.implied_task_id(task.get("position", ""))
    return last_id if last_id is not None and last_id <= MAX_IMPORTED_ID else None


def _add_rows(
    user: User,
    plan: Plan,
    numbers: Numbers,
    placed: Sequence[tuple[int | None, int | None]],
    *,
    rules_begin_at_task: bool,
) -> None:
    """Compute the row of each task and add it to the plan, unless it is unchanged. Yields to other requests.

    Reads the stored rows in chunks of `CHUNK`, each in a unit of work of its own. `placed` has (series_id, occurrence)
    of each task; `rules_begin_at_task` is that of `compute`. Raises ValidationError with the index of the task.
    """
    written_at = now()
    for start in range(0, len(numbers.tasks), CHUNK):
        chunk = numbers.tasks[start : start + CHUNK]
        updates = numbers.updates.intersection(range(start, start + len(chunk)))
        existing = statements.existing_rows(user, [numbers.ids[index] for index in updates])
        for index, task in yielding_by_size(enumerate(chunk, start), every=COMPUTED_AT_A_TIME, size=_work):
            task_id, before = numbers.ids[index], existing.get(numbers.ids[index])
            series, occurrence = placed[index]
            changes = {**task, "series_id": series, "occurrence": occurrence}
            if "next_task_id" in task:
                changes["next_task_id"] = numbers.next_of(index, series)
            if rules_begin_at_task and _has_same_rest(task, before):
                del changes["recurrence"]
            try:
                row = _merge_row(user, changes, task_id, before, written_at)
            except ValidationError as error:
                raise ValidationError({"tasks": {index: error.messages}}) from error
            _add_row(plan, task, before, row, written_at)


def _has_same_rest(task: Task, before: Any) -> bool:
    """Return True if the task's rule is the `remaining_rule` of its stored row `before`; False without row or rule."""
    rule = task.get("recurrence")
    if rule is None or before is None or before.recurrence is None:
        return False
    return bool(rule == remaining_rule(before))


def _work(numbered: tuple[int, Task]) -> int:
    """Return the work on the row of an (index, task), in the unit of `COMPUTED_AT_A_TIME`.

    It is 1, and 1 more for each full 1,000 characters of description, whose folding takes up to 3.6 ms.
    """
    return 1 + len(numbered[1].get("description") or "") // 1000


def _add_row(plan: Plan, task: Task, before: Any, row: dict[str, Any], written_at: datetime) -> None:
    """Count a task as created, updated or unchanged; add its row to the plan unless it is unchanged.

    `before` is the stored row, or None; in place of a tombstone a task is created. Updates `plan.live`, the lists of
    rows that need a number or a position, `plan.moved`, and the row's `updated_at` if the file has none.
    """
    plan.live += (row["deleted_at"] is None) - (before is not None and before.deleted_at is None)
    is_created = before is None or before.purged_at is not None
    if not is_created and all(getattr(before, name) == row[name] for name in _COMPARED):
        plan.counts["unchanged"] += 1
        return
    plan.counts["created" if is_created else "updated"] += 1
    if before is not None and any(getattr(before, name) != row[name] for name in _SERIES_POSITION):
        plan.moved.append(row["id"])
    if before is not None and "updated_at" not in task:
        row["updated_at"] = written_at
    encoded = statements.encode(row)
    plan.rows.append(encoded)
    for column in (ID, SERIES, NEXT):
        if (number := encoded[column] or 0) < 0:  # it stands for an allocated one (`Numbers`)
            plan.unnumbered.append((encoded, column, -1 - number))
    if row["id"] < 0:
        if "id" in task:
            plan.renumbered.append((task["id"], encoded))
        if not row["position"]:
            plan.without_position.append(encoded)


def _merge_row(user: User, task: Task, task_id: int, before: Any, written_at: datetime) -> dict[str, Any]:
    """Return all columns of an imported task; members that it lacks keep the values of `before`, or get defaults.

    They get defaults if `before` is None or a tombstone. An invalid `position` and a null `completed_at` count as
    absent; an open task has no `completed_at`. Raises ValidationError for contradictory members about time.
    """
    is_update = before is not None and before.purged_at is None
    members = {name: getattr(before, name) for name in _COMPARED} if is_update else {}
    members |= {
        name: value
        for name, value in task.items()
        if name not in ("id", "user_id") and (name, value) != ("completed_at", None)
    }
    if "position" not in members or ("position" in task and _implied_task_id(task) is None):
        implied = "" if task_id < 0 else positions.initial_position(task_id)
        members["position"] = before.position if is_update else implied
    row = {"deleted_at": None, "series_id": None, "occurrence": None, "next_task_id": None, "purged_at": None}
    row |= new_row(user, task_id, 0, written_at, members)
    if not row["completed"]:
        row["completed_at"] = None
    elif row["completed_at"] is None:
        row["completed_at"] = written_at
    # created_revision = revision would mark the task as unchanged since its creation, so that reopening the previous
    # task of its series removes it (series.py). An imported task may have been changed before.
    return row | {"created_revision": 0}
