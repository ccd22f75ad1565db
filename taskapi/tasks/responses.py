"""What the service says of a task, and of one that cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask, Response
from marshmallow import ValidationError

from ..http.errors import NotFound, PreconditionFailed, Problem, QuotaExceeded, ValidationFailed, problem_response
from ..http.fields import strict
from ..http.large_responses import FEW, Permit
from ..http.response import json_response
from .pages import Page, fragments
from .schemas import task_out
from .statements import errors
from .statements.errors import DOMAIN_ERRORS, TaskNotFound, VersionConflict
from .statements.rows import TaskRow


def init_app(app: Flask) -> None:
    """Turn the refusals of statements into problems, wherever they are raised."""
    for refusal in DOMAIN_ERRORS:
        app.register_error_handler(refusal, lambda error: problem_response(as_problem(error)))


def task_response(row: TaskRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A task, with its version as ETag."""
    return json_response(task_out.dump(row), status, etag=etag(row), headers=headers)


def items(
    page: Page,
    limit: int,
    permit: Permit,
    read_long: Callable[[Page], Page],
    dump: Callable[[Sequence[TaskRow]], list[Any]],
) -> tuple[Page, Sequence[Any]] | None:
    """The page that is answered, for which up to `limit` tasks were asked, and its tasks for `json_response`.

    None if it needs a permit, which is not free: more than a few tasks are read only with one, and long tasks.
    """
    if page.following is not None and limit > FEW and not permit.held:
        return None
    if not page.has_long:
        return page, dump(page.rows)
    if not permit.allows(page.long_bytes):
        return None
    page = read_long(page)
    found = fragments(dump(page.rows))
    return page.first(len(found)), found


def etag(row: TaskRow) -> str:
    """The version, as an entity tag."""
    return f'"{row.revision}"'


def as_problem(error: Exception) -> Problem:
    """The problem that a refusal is."""
    if isinstance(error, TaskNotFound):
        # One answer, byte for byte, whatever the reason a task is not there.
        return NotFound("You have no task of this id.")
    if isinstance(error, VersionConflict):
        return PreconditionFailed("`current` is what it is now.", current=task_out.dump(error.current))
    if isinstance(error, errors.QuotaExceeded):
        if error.in_trash:
            return QuotaExceeded(f"You may have {error.quota} tasks in the trash. Delete some of those permanently.")
        return QuotaExceeded(f"You may have {error.quota} tasks that are not in the trash.")
    if isinstance(error, ValidationError):
        return ValidationFailed("`errors` names each member that must change.", errors=strict.violations(error))
    raise error
