"""Import tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from ..pages import SIZE
from ..statements.counters import allocate_ids, bump_revision
from ..statements.quota import check_stored_tasks
from ..statements.rows import COLUMNS, TaskRow, new_row

T = TypeVar("T")


CHUNK = 100
"""How many tasks an import reads, checks or writes before it yields to other requests: some milliseconds."""


FOLDED_AT_A_TIME = 10
"""How many tasks an import folds before it yields: the longest takes 3.6 ms."""


MAX_EXISTING_BYTES = 16 * 1024 * 1024
"""Bytes of title, description and tags of the tasks that an import names; a full quota of ordinary tasks has 5 MB."""


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
"""Members that only an import may set, because they were the service's own when they went out."""


MAX_IMPORTED_ID = 1_000_000_000
"""The largest `id` and `series_id` of an imported task: new tasks get ids after it."""


@writes
def import_tasks(user: User, tasks: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Import tasks, all or none: one of a known id is changed, any other is created, with its id if it has one.

    Returns how many were `created`, `updated` and `unchanged`. Raises ValidationError and `QuotaExceeded`.
    """
    done: Counter[str] = Counter(created=0, updated=0, unchanged=0)
    if not tasks:
        return done
    moment = now()
    counters = allocate_ids(user, 0, last_task_id=max(map(_last_named_id, tasks)))
    ids = [task["id"] for task in tasks if "id" in task]
    _check_size_of_existing(user, ids)
    there = _existing_rows(user, ids)
    fresh = sum("id" not in task for task in tasks)
    next_id = bump_revision(user, 0, ids=fresh).last_task_id - fresh + 1
    rows: list[dict[str, Any]] = []
    for index, task in yielding(enumerate(tasks), every=FOLDED_AT_A_TIME):
        number = task.get("id") or next_id
        next_id += "id" not in task
        try:
            rows.append(_imported_row(user, number, task, there.get(number), revision=counters.revision, moment=moment))
        except ValidationError as error:
            raise ValidationError({"tasks": {index: error.messages}}) from error
    _check_series(user, tasks, rows)
    made: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    live = 0
    for task, row in yielding(zip(tasks, rows, strict=True), every=CHUNK):
        before = there.get(row["id"])
        live += (row["deleted_at"] is None) - (before is not None and before.deleted_at is None)
        if before is None:
            made.append(row)
        elif any(getattr(before, name) != row[name] for name in _COMPARED):
            changed.append(row if "updated_at" in task else {**row, "updated_at": moment})
        else:
            done["unchanged"] += 1
            continue
        done["created" if before is None or before.purged_at is not None else "updated"] += 1
    _write(user, there, made, changed)
    if made or changed:
        bump_revision(user, 0, live=live)
        check_stored_tasks(user)
    else:
        bump_revision(user, -1)  # everything is as it was
    return done


def _last_named_id(task: Mapping[str, Any]) -> int:
    """Return the last id that new tasks must come after, so that they do not meet what an imported task refers to.

    A new task is appended to the manual order. It is also the first of a series with its own id, in which no imported
    task may have a position yet.
    """
    last: int = max(task.get("id", 0), _implied_task_id(task) or 0, task.get("series_id") or 0)
    return last


def _write(
    user: User, there: Mapping[int, Any], made: Sequence[Mapping[str, Any]], changed: Sequence[Mapping[str, Any]]
) -> None:
    for rows in _chunks(
        [row for row in changed if _position(there[row["id"]]) != (row["series_id"], row["occurrence"])]
    ):
        # Remove them from their series first: two tasks may exchange their positions, in the unique index too.
        execute(update(Task).where(Task.user_id == user.id, is_one_of(Task.id, _ids(rows))).values(occurrence=None))
    # One statement for all rows: one per row takes ten times as long.
    statement = update(Task).where(Task.user_id == bindparam("owner"), Task.id == bindparam("task"))
    for rows in _chunks(changed):
        execute(statement, [_renamed(row) for row in rows])
    for rows in _chunks(made):
        execute(insert(Task), rows)


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the key columns, which are compared and not set."""
    columns = {name: value for name, value in row.items() if name not in ("user_id", "id")}
    return {**columns, "purged_at": None, "owner": row["user_id"], "task": row["id"]}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Divide what one statement would take too long for, and yield to other requests in between."""
    return yielding((items[start : start + CHUNK] for start in range(0, len(items), CHUNK)), every=1)


def _position(row: TaskRow) -> tuple[int | None, int | None]:
    return row.series_id, row.occurrence


def _ids(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


_COMPARED = ("title", *DEFAULTS, *IMPORT_ONLY_MEMBERS)
"""The members that an import can set, and those that stay as they are when it does not mention them."""


def _check_size_of_existing(user: User, ids: Sequence[int]) -> None:
    """Refuse an import that names more text than `MAX_EXISTING_BYTES`: all of it is read, and is in memory at once."""
    size = select(func.sum(SIZE)).where(Task.user_id == user.id, is_one_of(Task.id, ids))
    if ids and (execute(size).scalar() or 0) > MAX_EXISTING_BYTES:
        detail = f"The tasks named hold more than {MAX_EXISTING_BYTES // 2**20} MiB. Import fewer of them at a time."
        raise ValidationError({"tasks": [Violation("length", detail)]})


def _existing_rows(user: User, ids: Sequence[int]) -> dict[int, Any]:
    query = select(*COLUMNS, Task.purged_at)
    found = (execute(query.where(Task.user_id == user.id, is_one_of(Task.id, some))).all() for some in _chunks(ids))
    return {row.id: row for rows in found for row in rows}


def _check_series(user: User, tasks: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two tasks at one position of a series: of the rows as they will be written, and of those that stay.

    What the file says does not suffice: a row keeps the series and the position that its task does not mention.
    """
    placed = {index: (row["series_id"], row["occurrence"]) for index, row in enumerate(rows)}
    placed = {index: place for index, place in placed.items() if None not in place}
    imported, taken = set(_ids(rows)), set()
    for series in _chunks(sorted({series for series, _ in placed.values()})):
        place = (Task.series_id, Task.occurrence)
        found = execute(select(Task.id, *place).where(Task.user_id == user.id, is_one_of(Task.series_id, series)))
        taken |= {_position(row) for row in found if row.id not in imported}
    for index, here in placed.items():
        if here in taken:
            fault = Violation("conflict", "Another task has this position in the series.")
            named = [name for name in ("occurrence", "series_id") if name in tasks[index]]
            raise ValidationError({"tasks": {index: {named[0]: [fault]} if named else [fault]}})
        taken.add(here)


def _implied_task_id(task: Mapping[str, Any]) -> int | None:
    """The id that the place of an imported task stands before; None for no place, or one too far out to be ours."""
    reached = positions.implied_task_id(task.get("position", ""))
    return reached if reached is not None and reached <= MAX_IMPORTED_ID else None


def _imported_row(
    user: User, number: int, task: Mapping[str, Any], before: Any, *, revision: int, moment: datetime
) -> dict[str, Any]:
    """All columns of an imported task; what it does not mention is as it was, or as in a new one."""
    known = before is not None and before.purged_at is None
    members = {name: getattr(before, name) for name in _COMPARED} if known else {}
    members |= {name: value for name, value in task.items() if name != "id" and (name, value) != ("completed_at", None)}
    if _implied_task_id(task) is None and "position" in task:
        members["position"] = before.position if known else positions.initial_position(number)
    row = {"deleted_at": None, "series_id": None, "occurrence": None, "next_task_id": None}
    row |= new_row(user, number, revision, moment, members)
    if not row["completed"]:
        row["completed_at"] = None
    elif row["completed_at"] is None:
        row["completed_at"] = moment
    # Nobody knows whether it was worked on: completing the one before it again must not take it away.
    return row | {"created_revision": 0}
