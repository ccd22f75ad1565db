"""Decide which number each task of an import gets, and which tasks its `series_id` and `next_task_id` mean then.

A task of the file is a stored task only if `user_id`, `id` and `created_at` are the same. Any other one is created: it
keeps its number if that is free, otherwise it gets a new one, which is allocated when the rows are written. Until then
a negative number stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marshmallow import ValidationError

from ...auth.tokens import User
from ...concurrency.cooperative import yielding
from ...http.fields.strict import Violation
from . import import_statements as statements
from .import_statements import MAX_IMPORTED_ID, NO_ROWS, RowCounts

Task = Mapping[str, Any]
"""A task as `ImportedTask` loads it."""

NUMBERED_AT_A_TIME = 500
"""Tasks that are compared with the stored ones before an import yields: 1 to 2 ms."""

Reference = tuple[str | None, int]
"""What a number in the file means: the owner that its task names, and the number."""


@dataclass
class Numbers:
    """The number of each task of a file after the import, and what its references to other tasks become.

    A negative number is allocated when the rows are written: -1 becomes the first of those, -2 the second.
    """

    user: User
    tasks: Sequence[Task]
    last_task_id: int
    """The last number that was allocated before the import."""
    stored: Mapping[int, Any]
    """The stored rows that the file names, by id."""
    ids: list[int] = field(default_factory=list)
    """By index: the number of the task after the import."""
    updates: set[int] = field(default_factory=set)
    """The indexes of tasks that are stored tasks or their tombstones."""
    kept: set[int] = field(default_factory=set)
    """The positive numbers in `ids`."""
    pending: int = 0
    """How many numbers are allocated when the rows are written."""
    last_kept: int = 0
    """The highest number that the imported tasks keep, as their own or in a reference: new tasks get higher ones."""
    series_counts: RowCounts = NO_ROWS
    """The counts of the stored tasks in all series that an imported task belongs to."""
    _meaning: dict[Reference, int] = field(default_factory=dict)
    """The number after the import of each task of the file that has one in the file."""
    _series: dict[Reference, int] = field(default_factory=dict)
    """The number of each series of the file after the import."""
    _series_numbers: set[int] = field(default_factory=set)
    """The values of `_series`."""

    @property
    def _most(self) -> int:
        """The highest number that an imported task or series may keep."""
        return max(MAX_IMPORTED_ID, self.last_task_id)

    def is_own(self, task: Task) -> bool:
        """Return True if the file says that the task belongs to the importing user (`user_id`)."""
        return bool(task.get("user_id") == self.user.id)

    def stored_identity(self, index: int) -> Any:
        """Return the row of the stored task, or tombstone, that a task of the file is; None if it will be created.

        The row has the columns of `import_statements.identities` only. Call it after `assign_ids`.
        """
        return self.stored[self.ids[index]] if index in self.updates else None

    def series_of(self, task: Task) -> int | None:
        """Return the `series_id` of a task after the import; None without one. Call it after `assign_series`."""
        number = task.get("series_id")
        return None if number is None else self._series[task.get("user_id"), number]

    def next_of(self, index: int, series: int | None) -> int | None:
        """Return the `next_task_id` of a task after the import, or None; `series` is the task's series then.

        A reference to a task of the file becomes that task's number. An own reference to another task stays if it is
        the stored one, if the number is free, or if a stored task of `series` has it; all other references become None.
        """
        task, before = self.tasks[index], self.stored_identity(index)
        number = task.get("next_task_id")
        if number is None or (before is not None and number == before.next_task_id):
            return number
        if (meaning := self._meaning.get((task.get("user_id"), number))) or not self.is_own(task):
            return meaning
        row = self.stored.get(number)
        if row is None:
            return self._keep(number) if number <= self._most and number not in self.kept else None
        return number if series is not None and row.series_id == series else None

    def allocate(self) -> int:
        """Return a new negative number, which stands for the next one to be allocated; counts it in `pending`."""
        self.pending += 1
        return -self.pending

    def assign_ids(self) -> None:
        """Set `ids`, `updates`, `kept` and `last_kept`: the number of each task of the file. Yields to other requests.

        Tasks that are stored ones come first, so that no created one takes their numbers; the others follow in order.
        """
        for index, task in self._each():
            row = self.stored.get(task.get("id", 0))
            if row is not None and self.is_own(task) and task.get("created_at") == row.created_at:
                self.updates.add(index)
                self.kept.add(row.id)
        for index, task in self._each():
            number = task.get("id", 0)
            if index not in self.updates:
                number = self._keep_or_allocate(number, is_own=self.is_own(task))
            self.ids.append(number)
            if "id" in task and (index in self.updates or (task.get("user_id"), task["id"]) not in self._meaning):
                self._meaning[task.get("user_id"), task["id"]] = number
        self.last_kept = max(self.last_kept, *self.kept, 0)

    def _keep_or_allocate(self, number: int, *, is_own: bool) -> int:
        """Return the number of a task that is created: `number` if it is free, otherwise one from `allocate`.

        A number up to `last_task_id` belonged to a task of the user, which was deleted permanently if no row has it.
        Only a task that the file says to be the user's (`is_own`), as after an erasure, may have it.
        """
        is_possible = 0 < number <= self._most and (is_own or number > self.last_task_id)
        if is_possible and number not in self.kept and number not in self.stored:
            self.kept.add(number)
            return number
        return self.allocate()

    def assign_series(self) -> None:
        """Map each series that the file names to its number after the import. Yields to other requests.

        It is the number of the task of the file that the series began with. Without that, a series of a stored task
        that the import updates keeps its number, another one if `_keeps_series`; otherwise one is allocated.
        """
        continued = {
            (self.user.id, self.stored[self.ids[index]].series_id)
            for index in self.updates
            if self.stored[self.ids[index]].series_id is not None
        }
        for _, task in self._each():
            number = task.get("series_id")
            if number is not None and (key := (task.get("user_id"), number)) not in self._series:
                keeps = key in continued or self._keeps_series(task, number)
                self._series[key] = self._meaning.get(key) or (self._keep(number) if keeps else self.allocate())
                self._series_numbers.add(self._series[key])

    def _keeps_series(self, task: Task, number: int) -> bool:
        """Return True if the series `number` of a task keeps its number; its first task is not in the file.

        The number must be possible and not used by the import. For a task of the user, no newer stored task may have
        it: a series is as old as its first task. For a task of another user it must never have been allocated.
        """
        if number in self.kept or number in self._series_numbers or number > self._most:
            return False
        row = self.stored.get(number)
        if not self.is_own(task):
            return row is None and number > self.last_task_id
        # A series is as old as its first task, which is newer if the numbers began at 1 again after an erasure.
        return row is None or "created_at" not in task or bool(row.created_at <= task["created_at"])

    def _keep(self, number: int) -> int:
        """Return the number, which a reference has, and raise `last_kept` to it, so that no new task gets it."""
        self.last_kept = max(self.last_kept, number)
        return number

    def place(self) -> list[tuple[int | None, int | None]]:
        """Return (series_id, occurrence) of each task after the import; set `series_counts`. Yields to other requests.

        Reads the stored tasks of all series of the file. A created task at the position of a stored one gets a series
        of its own. Raises ValidationError if two tasks of the file, or one and a stored task, would have the same
        position.
        """
        placed = [self._position(index, task) for index, task in self._each()]
        series = sorted({number for number, occurrence in placed if number and number > 0 and occurrence})
        rows = [row for some in statements.chunks(series) for row in statements.rows_in_series(self.user, some)]
        self.series_counts = RowCounts(series, len(rows), 0)
        updated = {self.ids[index] for index in self.updates}
        stored = {(row.series_id, row.occurrence) for row in rows if row.id not in updated}
        taken = set()
        for index, task in self._each():
            if None in placed[index]:
                continue
            if placed[index] in stored and index not in self.updates:
                placed[index] = self.allocate(), placed[index][1]
            if placed[index] in stored or placed[index] in taken:
                raise _conflict(index, task)
            taken.add(placed[index])
        return placed

    def _position(self, index: int, task: Task) -> tuple[int | None, int | None]:
        """Return (series_id, occurrence) of a task; for a member that is absent in the file, that of the stored row."""
        before = self.stored_identity(index)
        series = self.series_of(task) if "series_id" in task or before is None else before.series_id
        return series, task.get("occurrence") if "occurrence" in task or before is None else before.occurrence

    def _each(self) -> Iterator[tuple[int, Task]]:
        """Iterate over (index, task) of the file; yields to other requests after each `NUMBERED_AT_A_TIME`."""
        return yielding(enumerate(self.tasks), every=NUMBERED_AT_A_TIME)


def _conflict(index: int, task: Task) -> ValidationError:
    """Return the error for the task at `index` of the file, whose position in a series another task has."""
    violation = Violation("conflict", "Another task has this position in the series.")
    members = [name for name in ("occurrence", "series_id") if name in task]
    return ValidationError({"tasks": {index: {members[0]: [violation]} if members else [violation]}})
