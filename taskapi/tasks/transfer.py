"""All of a user's data at once: read out in pieces, read in as one, or erased."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import delete, insert, select, update

from .. import slots
from ..auth.tokens import User
from ..db import execute, now, reads, writes
from ..fields import Violation
from ..idempotency import queries as idempotency
from ..lists import is_one_of
from ..slots import Slot
from . import models, positions
from .models import Task
from .pages import Page, Walk, longest_short
from .statements import COLUMNS, DEFAULTS, TaskRow, claim, count_up, new_row, update_task

PIECE, PIECE_BYTES = 100, 256 * 1024
"""Tasks that an export reads at a time, and their bytes: what an export of any size holds in memory."""

KEPT = ("completed_at", "created_at", "updated_at", "deleted_at", "position", "series_id", "occurrence", "next_task_id")
"""Members that only an import may set, because they were the service's own when they went out."""

MAX_IMPORTED_ID = 1_000_000_000
"""What the ids of imported tasks may go up to: new ones are given after it."""


def export(user: User, *, trash: bool) -> Iterator[TaskRow]:
    """Every task by id, with those in the trash if they are wanted; in pieces, each as it is when it is read.

    The first piece is read at once. No concurrency slot is held while one is sent, and other requests run between two.
    """
    return _rows(user, _piece(user, 0, trash=trash), slots.later(), trash=trash)


def _rows(user: User, page: Page, slot: Slot, *, trash: bool) -> Iterator[TaskRow]:
    yield from page.rows
    while page.following is not None and page.last is not None:
        after = page.last.id
        del page  # the client may not have taken all of it
        time.sleep(0)
        with slot():
            page = _piece(user, after, trash=trash)
        yield from page.rows


@reads
def _piece(user: User, after: int, *, trash: bool) -> Page:
    conditions = [Task.user_id == user.id, Task.id > after, Task.purged_at.is_(None)]
    if not trash:
        conditions.append(Task.deleted_at.is_(None))
    walk = Walk(conditions, (), (Task.id,))
    page = Page.of(execute(walk.short(PIECE + 1, longest_short(PIECE))).all(), PIECE, keys=0)
    if not page.has_long:
        return page
    return page.whole(lambda most, most_bytes: execute(walk.bounded(most, most_bytes)).all(), PIECE_BYTES)


@writes
def load(user: User, tasks: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Bring tasks in, all or none: one of a known id is changed, any other is made, with its id if it has one.

    Answers how many were `created`, `updated` and `unchanged`. Raises ValidationError and `QuotaExceeded`.
    """
    done: Counter[str] = Counter(created=0, updated=0, unchanged=0)
    if not tasks:
        return done
    moment = now()
    # New tasks get the ids after all that are brought in, and come behind all places that are.
    counters = claim(user, 0, last_task_id=max(max(task.get("id", 0), _reached(task) or 0) for task in tasks))
    _check_series(user, tasks)
    there = _there(user, [task["id"] for task in tasks if "id" in task])
    fresh = sum("id" not in task for task in tasks)
    next_id = count_up(user, 0, ids=fresh).last_task_id - fresh + 1
    made: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    live = 0
    for index, task in enumerate(tasks):
        number = task.get("id") or next_id
        next_id += "id" not in task
        before = there.get(number)
        try:
            row = _row(user, number, task, before, revision=counters.revision, moment=moment)
        except ValidationError as error:
            raise ValidationError({"tasks": {index: error.messages}}) from error
        live += (row["deleted_at"] is None) - (before is not None and before.deleted_at is None)
        if before is None:
            made.append(row)
        elif any(getattr(before, name) != row[name] for name in _COMPARED):
            changed.append(row if "updated_at" in task else {**row, "updated_at": moment})
        else:
            done["unchanged"] += 1
            continue
        done["created" if before is None or before.purged_at is not None else "updated"] += 1
    _write(user, counters.revision, made, changed)
    if made or changed:
        count_up(user, 0, live=live)
    else:
        count_up(user, -1)  # everything is as it was
    return done


def _write(user: User, revision: int, made: Sequence[Mapping[str, Any]], changed: Sequence[Mapping[str, Any]]) -> None:
    if changed:
        # Out of their places in series first: tasks may change places with one another.
        ids = [row["id"] for row in changed]
        execute(update(Task).where(Task.user_id == user.id, is_one_of(Task.id, ids)).values(occurrence=None))
    for row in changed:
        columns = {name: value for name, value in row.items() if name not in ("user_id", "id", "revision")}
        update_task(user, row["id"], revision, {**columns, "purged_at": None})
    if made:
        execute(insert(Task), made)


@writes
def erase(user: User) -> None:
    """Everything there is of the user: tasks, trash, tombstones, keys, counters."""
    # Other writes of this user wait for the counters' row, so it is there and locked from first to last: where it was
    # missing, a task could slip in between and be deleted, and its counters stay.
    claim(user, 0)
    execute(delete(Task).where(Task.user_id == user.id))
    idempotency.forget(user)
    execute(delete(models.User).where(models.User.user_id == user.id))


_COMPARED = ("title", *DEFAULTS, *KEPT)
"""The members that an import can set, and those that stay as they are when it does not mention them."""


def _there(user: User, ids: Sequence[int]) -> dict[int, Any]:
    rows = execute(select(*COLUMNS, Task.purged_at).where(Task.user_id == user.id, is_one_of(Task.id, ids))).all()
    return {row.id: row for row in rows}


def _check_series(user: User, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two tasks in the same place of a series, of those brought in and those that stay as they are."""
    series = {task["series_id"] for task in tasks if task.get("series_id") and task.get("occurrence")}
    place = (Task.series_id, Task.occurrence)
    found = (
        execute(select(Task.id, *place).where(Task.user_id == user.id, is_one_of(Task.series_id, series)))
        if series
        else ()
    )
    ids = {task["id"] for task in tasks if "id" in task}
    taken = {(row.series_id, row.occurrence) for row in found if row.id not in ids}
    for index, task in enumerate(tasks):
        here = (task.get("series_id"), task.get("occurrence"))
        if None not in here and here in taken:
            fault = Violation("conflict", "Another task has this place in the series.")
            raise ValidationError({"tasks": {index: {"occurrence": [fault]}}})
        taken.add(here)


def _reached(task: Mapping[str, Any]) -> int | None:
    """The id that the place of an imported task stands before; None for no place, or one too far out to be ours."""
    reached = positions.reached(task.get("position", ""))
    return reached if reached is not None and reached <= MAX_IMPORTED_ID else None


def _row(
    user: User, number: int, task: Mapping[str, Any], before: Any, *, revision: int, moment: datetime
) -> dict[str, Any]:
    """All columns of an imported task; what it does not mention is as it was, or as in a new one."""
    known = before is not None and before.purged_at is None
    members = {name: getattr(before, name) for name in _COMPARED} if known else {}
    members |= {name: value for name, value in task.items() if name != "id" and (name, value) != ("completed_at", None)}
    if _reached(task) is None and "position" in task:
        members["position"] = before.position if known else positions.of_new(number)
    row = {"deleted_at": None, "series_id": None, "occurrence": None, "next_task_id": None}
    row |= new_row(user, number, revision, moment, members)
    if not row["completed"]:
        row["completed_at"] = None
    elif row["completed_at"] is None:
        row["completed_at"] = moment
    # Nobody knows whether it was worked on: completing the one before it again must not take it away.
    return row | {"created_revision": 0}
