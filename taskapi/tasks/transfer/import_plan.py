"""Compute the rows that an import writes, before its transaction: read existing tasks, merge, fold, compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from marshmallow import ValidationError

from ...auth.tokens import User
from ...concurrency.cooperative import yielding, yielding_by_size
from ...database.base import now
from ...http.fields.strict import Violation
from .. import positions
from ..members import DEFAULTS
from ..statements.rows import new_row
from . import import_statements as statements
from .import_statements import MAX_IMPORTED_ID, NO_ROWS, RowCounts

T = TypeVar("T")

Task = Mapping[str, Any]
"""A task as `ImportedTask` loads it."""

CHUNK = 100
"""Existing tasks that an import reads before it yields to other requests: some milliseconds."""

COMPUTED_AT_A_TIME = 10
"""Tasks whose row an import computes before it yields; a text counts for `_work` of them."""

NUMBERED_AT_A_TIME = 1_000
"""Tasks whose ids and positions an import compares before it yields: about 1 ms."""

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

NEW = 0
"""The id of a row whose id is allocated when it is written."""


@dataclass
class Plan:
    """The rows that an import writes, and what it has read to compute them."""

    revision: int
    """The user's revision before anything was read."""
    last_named_id: int
    """New tasks get ids after it."""
    rows: list[list[Any]] = field(default_factory=list)
    """As `import_statements.encode` returns them."""
    new: list[list[Any]] = field(default_factory=list)
    """Those of `rows` that get an id when they are written."""
    without_position: list[list[Any]] = field(default_factory=list)
    """Those of `new` whose position depends on that id."""
    moved: list[int] = field(default_factory=list)
    """Ids of existing tasks that get another position in a series."""
    live: int = 0
    """How much the number of live tasks changes."""
    counts: Counter[str] = field(default_factory=lambda: Counter(created=0, updated=0, unchanged=0))
    named_counts: RowCounts = NO_ROWS
    """The counts of the existing tasks that the document names."""
    series_counts: RowCounts = NO_ROWS
    """The counts of the existing tasks in all series that an imported task belongs to."""


def compute(user: User, tasks: Sequence[Task]) -> Plan:
    """Compute what an import of `tasks` writes. Writes nothing, and yields to other requests.

    Raises ValidationError, also if the existing tasks hold more than `MAX_EXISTING_BYTES`. No lock is held:
    `imports.write` checks whether anything that was read has changed since.
    """
    last_named_ids = map(_last_named_id, yielding(tasks, every=NUMBERED_AT_A_TIME))
    plan = Plan(statements.revision(user), max(last_named_ids, default=0))
    ids = [task["id"] for task in tasks if "id" in task]
    if statements.text_bytes(user, ids) > MAX_EXISTING_BYTES:
        detail = f"The tasks named hold more than {MAX_EXISTING_BYTES // 2**20} MiB. Import fewer of them at a time."
        raise ValidationError({"tasks": [Violation("length", detail)]})
    placed = _add_rows(user, plan, tasks)
    _check_series(user, plan, tasks, placed, set(ids))
    return plan


def _last_named_id(task: Task) -> int:
    """Return the highest id that an imported task has, or refers to by `series_id` or `position`; 0 without any.

    New tasks get higher ids.

    The initial position of a new task is derived from its id, so the id must be above that of the imported `position`
    for the task to be the last one. A new recurring task is the first of a series with its own id, so no imported
    `series_id` may equal it.
    """
    last: int = max(task.get("id", 0), _implied_task_id(task) or 0, task.get("series_id") or 0)
    return last


def _implied_task_id(task: Task) -> int | None:
    """Return `positions.implied_task_id` of the task's position, or None.

    None without a position, for an invalid one and for one that the service cannot have assigned (ids over
    `MAX_IMPORTED_ID`).
    """
    last_id = positions.implied_task_id(task.get("position", ""))
    return last_id if last_id is not None and last_id <= MAX_IMPORTED_ID else None


def _add_rows(user: User, plan: Plan, tasks: Sequence[Task]) -> dict[int, tuple[int, int]]:
    """Add the rows of the tasks to the plan, and set `plan.named_counts`. Yields to other requests.

    Returns, by index, (series_id, occurrence) of each task that has both after the import. Raises ValidationError with
    the index of the task. One chunk of existing rows is in memory at a time.
    """
    written_at = now()
    placed: dict[int, tuple[int, int]] = {}
    ids, found, tombstones = [task["id"] for task in tasks if "id" in task], 0, 0
    for start in range(0, len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        existing = statements.existing_rows(user, [task["id"] for task in chunk if "id" in task])
        found += len(existing)
        tombstones += sum(row.purged_at is not None for row in existing.values())
        for index, task in yielding_by_size(enumerate(chunk, start), every=COMPUTED_AT_A_TIME, size=_work):
            before = existing.get(task.get("id", NEW))
            try:
                row = _merge_row(user, task, before, written_at)
            except ValidationError as error:
                raise ValidationError({"tasks": {index: error.messages}}) from error
            if None not in (position := (row["series_id"], row["occurrence"])):
                placed[index] = position
            _add_row(plan, before, row, {} if "updated_at" in task or before is None else {"updated_at": written_at})
    plan.named_counts = RowCounts(ids, found, tombstones)
    return placed


def _work(numbered: tuple[int, Task]) -> int:
    """Return the work on a task, `numbered` with its index: 1, and 1 for each full 1,000 characters of description.

    Folding them takes up to 3.6 ms.
    """
    return 1 + len(numbered[1].get("description") or "") // 1000


def _add_row(plan: Plan, before: Any, row: dict[str, Any], stamp: Mapping[str, Any]) -> None:
    """Count a row as created, updated or unchanged; add it with the columns `stamp` to the plan unless unchanged.

    `before` is the stored row, or None; in place of a tombstone a task is created. Also updates `plan.live`, the lists
    of new rows, and `plan.moved` if the position in a series changes.
    """
    plan.live += (row["deleted_at"] is None) - (before is not None and before.deleted_at is None)
    if before is None:
        plan.counts["created"] += 1
    elif any(getattr(before, name) != row[name] for name in _COMPARED):
        plan.counts["updated" if before.purged_at is None else "created"] += 1
        if any(getattr(before, name) != row[name] for name in _SERIES_POSITION):
            plan.moved.append(row["id"])
    else:
        plan.counts["unchanged"] += 1
        return
    encoded = statements.encode({**row, **stamp})
    plan.rows.append(encoded)
    if row["id"] == NEW:
        plan.new.append(encoded)
        if not row["position"]:
            plan.without_position.append(encoded)


def _merge_row(user: User, task: Task, before: Any, written_at: datetime) -> dict[str, Any]:
    """Return all columns of an imported task; absent members keep the value of the row `before`, or get defaults.

    They get defaults without a row `before`, and with a tombstone. An invalid `position` and a null `completed_at`
    count as absent; an open task has no `completed_at`. Raises ValidationError for contradictory members about time.
    """
    is_update = before is not None and before.purged_at is None
    members = {name: getattr(before, name) for name in _COMPARED} if is_update else {}
    members |= {name: value for name, value in task.items() if name != "id" and (name, value) != ("completed_at", None)}
    task_id = task.get("id", NEW)
    if "position" not in members or ("position" in task and _implied_task_id(task) is None):
        members["position"] = before.position if is_update else task_id and positions.initial_position(task_id)
    row = {"deleted_at": None, "series_id": None, "occurrence": None, "next_task_id": None, "purged_at": None}
    row |= new_row(user, task_id, 0, written_at, members)
    if not row["completed"]:
        row["completed_at"] = None
    elif row["completed_at"] is None:
        row["completed_at"] = written_at
    # created_revision = revision would mark the task as unchanged since its creation, so that reopening the previous
    # task of its series removes it (series.py). An imported task may have been changed before.
    return row | {"created_revision": 0}


def _check_series(
    user: User,
    plan: Plan,
    tasks: Sequence[Task],
    placed: Mapping[int, tuple[int, int]],
    ids: Collection[int],
) -> None:
    """Raise ValidationError if two tasks would have the same position in a series; set `plan.series_counts`.

    `placed` maps the index of a task in the document to its (series_id, occurrence) after the import, which may be that
    of its stored row. The stored positions of `ids`, the tasks that the document names, are ignored: the import
    replaces them. Yields to other requests.
    """
    series = sorted({series for series, _ in placed.values()})
    stored = [row for some in _chunks(series) for row in statements.rows_in_series(user, some)]
    plan.series_counts = RowCounts(series, len(stored), 0)
    taken = {(row.series_id, row.occurrence) for row in stored if row.id not in ids}
    for index, position in placed.items():
        if position in taken:
            violation = Violation("conflict", "Another task has this position in the series.")
            members = [name for name in ("occurrence", "series_id") if name in tasks[index]]
            raise ValidationError({"tasks": {index: {members[0]: [violation]} if members else [violation]}})
        taken.add(position)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Iterate over chunks of `CHUNK` items; yield to other requests after each."""
    return yielding((items[start : start + CHUNK] for start in range(0, len(items), CHUNK)), every=1)
