"""Import tasks from the document of an export, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from marshmallow import ValidationError
from sqlalchemy import bindparam, func, insert, select, update

from ...auth.tokens import User
from ...concurrency.cooperative import yielding
from ...database.base import now
from ...database.lists import is_one_of
from ...database.unit_of_work import execute, writes
from ...http.fields.strict import Violation
from .. import positions
from ..members import DEFAULTS
from ..models import Task
from ..pages import TEXT_BYTES
from ..statements.counters import allocate_ids, bump_revision
from ..statements.quota import check_stored_tasks
from ..statements.rows import COLUMNS, TaskRow, new_row

T = TypeVar("T")

CHUNK = 100
"""Tasks that an import reads, compares or writes before it yields to other requests: some milliseconds."""

FOLDED_AT_A_TIME = 10
"""Tasks whose text an import folds before it yields: the longest task takes 3.6 ms."""

MAX_EXISTING_BYTES = 16 * 1024 * 1024
"""Maximum bytes of title, description and tags of the existing tasks that an import names.

All of them are in memory at once. A full quota of ordinary tasks has 5 MB.
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

MAX_IMPORTED_ID = 1_000_000_000
"""Maximum `id` and `series_id` of an imported task: new tasks get ids after it."""

_COMPARED = ("title", *DEFAULTS, *IMPORT_ONLY_MEMBERS)
"""The members that an import can set; a task of which none differs is unchanged."""


@dataclass
class _Changes:
    """The rows that an import writes, how much the number of live tasks changes, and the counts of its result."""

    inserts: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    live: int = 0
    counts: Counter[str] = field(default_factory=lambda: Counter(created=0, updated=0, unchanged=0))


@writes
def import_tasks(user: User, tasks: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Import tasks, all or none: one whose id exists is updated, any other is created, with its id if it has one.

    `tasks` are as `ImportedTask` loads them. Returns the numbers of `created`, `updated` and `unchanged` tasks. Raises
    ValidationError and `QuotaExceeded`.
    """
    if not tasks:
        return _Changes().counts
    moment = now()
    revision = allocate_ids(user, 0, last_task_id=max(map(_last_named_id, tasks))).revision
    ids = [task["id"] for task in tasks if "id" in task]
    _check_size_of_existing(user, ids)
    existing = _existing_rows(user, ids)
    rows = _imported_rows(user, tasks, existing, revision=revision, moment=moment)
    _check_series(user, tasks, rows)
    changes = _compare(tasks, rows, existing, moment)
    _write(user, existing, changes)
    if changes.inserts or changes.updates:
        bump_revision(user, 0, live=changes.live)
        check_stored_tasks(user)
    else:
        bump_revision(user, -1)  # nothing has changed: take the increment back
    return changes.counts


def _last_named_id(task: Mapping[str, Any]) -> int:
    """Return the last id that new tasks must come after, so that they do not meet what an imported task refers to.

    A new task is appended to the manual order. It is also the first of a series with its own id, in which no imported
    task may have a position yet.
    """
    last: int = max(task.get("id", 0), _implied_task_id(task) or 0, task.get("series_id") or 0)
    return last


def _implied_task_id(task: Mapping[str, Any]) -> int | None:
    """Return the last id whose initial position sorts before the task's position, or None.

    None for an invalid position and for one that the service cannot have assigned (ids over `MAX_IMPORTED_ID`).
    """
    last_id = positions.implied_task_id(task.get("position", ""))
    return last_id if last_id is not None and last_id <= MAX_IMPORTED_ID else None


def _check_size_of_existing(user: User, ids: Sequence[int]) -> None:
    """Raise ValidationError if the existing tasks with these ids have more text than `MAX_EXISTING_BYTES`."""
    size = select(func.sum(TEXT_BYTES)).where(Task.user_id == user.id, is_one_of(Task.id, ids))
    if ids and (execute(size).scalar() or 0) > MAX_EXISTING_BYTES:
        detail = f"The tasks named hold more than {MAX_EXISTING_BYTES // 2**20} MiB. Import fewer of them at a time."
        raise ValidationError({"tasks": [Violation("length", detail)]})


def _existing_rows(user: User, ids: Sequence[int]) -> dict[int, Any]:
    """Return the rows with these ids by id: `COLUMNS` and `purged_at`; tombstones are included."""
    query = select(*COLUMNS, Task.purged_at)
    results = (execute(query.where(Task.user_id == user.id, is_one_of(Task.id, some))).all() for some in _chunks(ids))
    return {row.id: row for rows in results for row in rows}


def _imported_rows(
    user: User, tasks: Sequence[Mapping[str, Any]], existing: Mapping[int, Any], *, revision: int, moment: datetime
) -> list[dict[str, Any]]:
    """Return the columns of all imported tasks, after allocating ids for those without one.

    Raises ValidationError with the index of the task.
    """
    new_ids = sum("id" not in task for task in tasks)
    next_id = bump_revision(user, 0, ids=new_ids).last_task_id - new_ids + 1
    rows: list[dict[str, Any]] = []
    for index, task in yielding(enumerate(tasks), every=FOLDED_AT_A_TIME):
        task_id = task.get("id") or next_id
        next_id += "id" not in task
        try:
            row = _imported_row(user, task_id, task, existing.get(task_id), revision=revision, moment=moment)
        except ValidationError as error:
            raise ValidationError({"tasks": {index: error.messages}}) from error
        rows.append(row)
    return rows


def _imported_row(
    user: User, id: int, task: Mapping[str, Any], before: Any, *, revision: int, moment: datetime
) -> dict[str, Any]:
    """Return all columns of an imported task; absent members keep the value of the row `before`, or get defaults."""
    is_update = before is not None and before.purged_at is None
    members = {name: getattr(before, name) for name in _COMPARED} if is_update else {}
    members |= {name: value for name, value in task.items() if name != "id" and (name, value) != ("completed_at", None)}
    if _implied_task_id(task) is None and "position" in task:
        members["position"] = before.position if is_update else positions.initial_position(id)
    row = {"deleted_at": None, "series_id": None, "occurrence": None, "next_task_id": None}
    row |= new_row(user, id, revision, moment, members)
    if not row["completed"]:
        row["completed_at"] = None
    elif row["completed_at"] is None:
        row["completed_at"] = moment
    # created_revision = revision would mark the task as unchanged since its creation, so that reopening the previous
    # task of its series removes it (series.py). An imported task may have been changed before.
    return row | {"created_revision": 0}


def _check_series(user: User, tasks: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValidationError if two tasks would have one position of a series: among `rows` and other stored tasks.

    The document alone does not suffice: a row keeps the series and the occurrence that its task does not mention.
    """
    placed = {index: (row["series_id"], row["occurrence"]) for index, row in enumerate(rows)}
    placed = {index: position for index, position in placed.items() if None not in position}
    taken = _positions_of_others(user, {series for series, _ in placed.values()}, set(_ids(rows)))
    for index, position in placed.items():
        if position in taken:
            violation = Violation("conflict", "Another task has this position in the series.")
            members = [name for name in ("occurrence", "series_id") if name in tasks[index]]
            raise ValidationError({"tasks": {index: {members[0]: [violation]} if members else [violation]}})
        taken.add(position)


def _positions_of_others(user: User, series: set[int], imported: set[int]) -> set[tuple[int | None, int | None]]:
    """Return the positions (series, occurrence) of stored tasks in these series, without the imported tasks."""
    columns = (Task.id, Task.series_id, Task.occurrence)
    taken = set()
    for some in _chunks(sorted(series)):
        stored = execute(select(*columns).where(Task.user_id == user.id, is_one_of(Task.series_id, some)))
        taken |= {_position(row) for row in stored if row.id not in imported}
    return taken


def _position(row: TaskRow) -> tuple[int | None, int | None]:
    """Return the position of a row in its series."""
    return row.series_id, row.occurrence


def _compare(
    tasks: Sequence[Mapping[str, Any]], rows: Sequence[dict[str, Any]], existing: Mapping[int, Any], moment: datetime
) -> _Changes:
    """Divide the rows into inserts, updates and unchanged ones, and count them."""
    changes = _Changes()
    for task, row in yielding(zip(tasks, rows, strict=True), every=CHUNK):
        before = existing.get(row["id"])
        changes.live += (row["deleted_at"] is None) - (before is not None and before.deleted_at is None)
        if before is None:
            changes.inserts.append(row)
        elif any(getattr(before, name) != row[name] for name in _COMPARED):
            changes.updates.append(row if "updated_at" in task else {**row, "updated_at": moment})
        else:
            changes.counts["unchanged"] += 1
            continue
        changes.counts["created" if before is None or before.purged_at is not None else "updated"] += 1
    return changes


def _write(user: User, existing: Mapping[int, Any], changes: _Changes) -> None:
    """Insert and update the rows of an import in chunks."""
    moved = [row for row in changes.updates if _position(existing[row["id"]]) != (row["series_id"], row["occurrence"])]
    for rows in _chunks(moved):
        # Remove them from their series first: two tasks may exchange positions, which the unique index would reject.
        execute(update(Task).where(Task.user_id == user.id, is_one_of(Task.id, _ids(rows))).values(occurrence=None))
    # executemany of one statement: a statement for each row takes ten times as long.
    statement = update(Task).where(Task.user_id == bindparam("owner"), Task.id == bindparam("task"))
    for rows in _chunks(changes.updates):
        execute(statement, [_update_parameters(row) for row in rows])
    for rows in _chunks(changes.inserts):
        execute(insert(Task), rows)


def _update_parameters(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an UPDATE: the key columns under the names of the bind parameters of the WHERE."""
    columns = {name: value for name, value in row.items() if name not in ("user_id", "id")}
    return {**columns, "purged_at": None, "owner": row["user_id"], "task": row["id"]}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Divide items into chunks of `CHUNK`, and yield to other requests after each."""
    return yielding((items[start : start + CHUNK] for start in range(0, len(items), CHUNK)), every=1)


def _ids(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the ids of rows."""
    return [row["id"] for row in rows]
