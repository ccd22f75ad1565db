"""Domain errors that statements on tasks raise; the transaction is rolled back, so nothing has changed."""

from __future__ import annotations

from marshmallow import ValidationError

from .rows import TaskRow


class TaskNotFound(Exception):
    """The user has no task with this id, or not in the state that the operation needs."""


class InvalidTaskId(TaskNotFound):
    """The id in the path is not a number, so no task can have it."""


class VersionConflict(Exception):
    """The version of the task is none of those expected (If-Match). `current` is the row as it is."""

    def __init__(self, current: TaskRow) -> None:
        super().__init__()
        self.current = current


class QuotaExceeded(Exception):
    """The write would exceed `quota`: the user's live tasks, or the tasks in the trash if `in_trash`."""

    def __init__(self, quota: int, *, in_trash: bool = False) -> None:
        super().__init__()
        self.quota = quota
        self.in_trash = in_trash


DOMAIN_ERRORS = (TaskNotFound, VersionConflict, QuotaExceeded, ValidationError)
"""All exceptions by which statement modules reject an operation."""
