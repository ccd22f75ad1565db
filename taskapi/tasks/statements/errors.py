"""Domain errors of statements on tasks."""

from __future__ import annotations

from marshmallow import ValidationError

from .rows import TaskRow


class TaskNotFound(Exception):
    """The user has no such task."""


class VersionConflict(Exception):
    """The task is not of a version that the caller expects; `current` is what it is."""

    def __init__(self, current: TaskRow) -> None:
        super().__init__()
        self.current = current


class QuotaExceeded(Exception):
    """The user would have more tasks than is allowed, outside of the trash or `in_trash`."""

    def __init__(self, quota: int, *, in_trash: bool = False) -> None:
        super().__init__()
        self.quota = quota
        self.in_trash = in_trash


DOMAIN_ERRORS = (TaskNotFound, VersionConflict, QuotaExceeded, ValidationError)
"""What a statement module raises when it cannot do what was asked; nothing was changed then."""
