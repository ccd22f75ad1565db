"""The task id and If-Match of a request, and the precedence of its errors: 404, then 428 and 412, then 400 and 422."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from flask import g
from marshmallow import Schema, ValidationError

from ..http.errors import BadParameter, BadRequest, PreconditionRequired, ValidationFailed
from ..http.request import expected_versions, query_parameters
from . import queries
from .schemas import no_parameters
from .statements.errors import InvalidTaskId, TaskNotFound
from .statements.rows import TaskRow

_ID = re.compile(r"[1-9][0-9]{0,17}")
"""A task id in canonical form (no sign, no leading zero) that fits into a BIGINT."""

_DIGITS = re.compile(r"[0-9]+")


@contextmanager
def task_precondition(
    id: str, *, query: Schema = no_parameters, find: Callable[..., TaskRow] = queries.find
) -> Iterator[tuple[int, Set[int] | None]]:
    """Parse the id in the path and If-Match; yield the id and the versions that the task may have (None: any).

    `query` is the schema of the query string. `find` looks the task up only after another error (a precondition, a
    parameter, a body), also one raised inside the block: that is raised only for a task that exists and has such a
    version. Raises `TaskNotFound`, `VersionConflict` and the problems of `expected_versions` and `query_parameters`.
    """
    task_id, expected = parse_task_id(id), None
    try:
        expected = expected_versions()
        query_parameters(query)
        yield task_id, expected
    except (PreconditionRequired, BadParameter, BadRequest, ValidationFailed, ValidationError):
        find(g.user, task_id, expected)  # raises TaskNotFound or VersionConflict, which precede this error
        raise


def parse_task_id(text: str) -> int:
    """Return the task id in a path.

    Raises `TaskNotFound` for a number that is no id, as for an id without a task, and `InvalidTaskId` for other text.
    """
    if not _ID.fullmatch(text):
        raise TaskNotFound if _DIGITS.fullmatch(text) else InvalidTaskId
    return int(text)
