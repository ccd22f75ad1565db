"""The task id and If-Match of a request, and the precedence of its errors: 404, then 428 and 412, then 400 and 422."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

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
) -> Iterator[tuple[int, Set[int] | None, Mapping[str, Any]]]:
    """Yield (id, versions, loaded parameters) of a request: the path's task id, If-Match and the query string.

    The versions are those that the task may have (None: any); `query` is the schema of the query string. After a wrong
    precondition, parameter or body, raised here or in the `with` block, `find` looks the task up, and its
    `TaskNotFound` or `VersionConflict` replaces that error. Raises `InvalidTaskId` and `TaskNotFound` of
    `parse_task_id` before.
    """
    task_id, expected = parse_task_id(id), None
    try:
        expected = expected_versions()
        yield task_id, expected, query_parameters(query)
    except (PreconditionRequired, BadParameter, BadRequest, ValidationFailed, ValidationError):
        find(g.user, task_id, expected)  # raises TaskNotFound or VersionConflict, which precede this error
        raise


def parse_task_id(text: str) -> int:
    """Return the task id in a path as an int; does not look the task up.

    Raises `TaskNotFound` for a number that cannot be an id, such as 0 or 007, and `InvalidTaskId` for other text.
    """
    if not _ID.fullmatch(text):
        raise TaskNotFound if _DIGITS.fullmatch(text) else InvalidTaskId
    return int(text)
