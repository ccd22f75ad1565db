"""JSON responses of tasks, and the problem documents of domain errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask import Flask, Response, url_for
from marshmallow import ValidationError

from ..auth.tokens import User
from ..http.errors import NotFound, PreconditionFailed, Problem, QuotaExceeded, ValidationFailed, problem_response
from ..http.large_responses import SMALL_PAGE, Permit
from ..http.response import json_response
from ..http.routing import current_request
from .etags import task_etag
from .pages import Page, json_fragments
from .schemas import task_out
from .statements import errors
from .statements.rows import TaskRow


def init_app(app: Flask) -> None:
    """Register an error handler for each class of `DOMAIN_ERRORS`, which responds with the problem of `as_problem`."""
    for error_class in errors.DOMAIN_ERRORS:
        app.register_error_handler(error_class, lambda error: problem_response(as_problem(error)))


def task_response(row: TaskRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for one task: its JSON, its version as ETag, and further `headers`."""
    return json_response(task_out.dump(row), status, etag=task_etag(row), headers=headers)


def path_of_tasks(user: User) -> str:
    """Return the path of a user's tasks with the path prefix of the current request; without a slash at its end."""
    return _path_of_tasks(user, current_request().root_path)


@lru_cache(maxsize=4096)
def _path_of_tasks(user: User, _prefix: str) -> str:
    """Return `path_of_tasks`, cached for the user and for `_prefix`, the path prefix of the current request."""
    return url_for("tasks.index", user_id=user.id)


def page_items(
    page: Page,
    limit: int,
    permit: Permit,
    read_long: Callable[[Page], Page],
    dump: Callable[[Sequence[TaskRow]], list[Any]],
) -> tuple[Page, Sequence[Any]] | None:
    """Return (page to send, serialized tasks); None if the caller must acquire `permit` and read the page again.

    None if tasks follow `page`, `limit` exceeds `SMALL_PAGE` and the permit is not held, even if one is free; also if
    the long tasks exceed `LARGE_RESPONSE_BYTES` and no permit is held or free now (a free one is acquired). Long tasks
    are read again with `read_long`, up to `pages.MAX_BYTES` of JSON. Yields to other requests.
    """
    if page.following is not None and limit > SMALL_PAGE and not permit.held:
        return None
    if not page.has_long:
        return page, dump(page.rows)
    if not permit.allows(page.long_bytes):
        return None
    page = read_long(page)
    items = json_fragments(dump(page.rows))
    return page.truncated(len(items)), items


def as_problem(error: Exception) -> Problem:
    """Return the problem for a domain error (404, 412, 409, 422); raise any other exception as it is."""
    if isinstance(error, errors.InvalidTaskId):
        return NotFound("The id of a task is a whole number, such as 7: send the `id` that the task has in the list.")
    if isinstance(error, errors.TaskNotFound):
        # The body is the same for every reason: never created, deleted, or purged.
        return NotFound("You have no task of this id.")
    if isinstance(error, errors.VersionConflict):
        return PreconditionFailed(
            "The task has changed since: `current` is what it is now.", current=task_out.dump(error.current)
        )
    if isinstance(error, errors.QuotaExceeded):
        if error.in_trash:
            return QuotaExceeded(f"You may have {error.quota} tasks in the trash. Delete some of those permanently.")
        return QuotaExceeded(f"You may have {error.quota} tasks that are not in the trash.")
    if isinstance(error, ValidationError):
        return ValidationFailed.of(error)
    raise error
