"""The task id and If-Match of a request, and the precedence of its errors: 404, then 428 and 412, then 400 and 422."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
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


_LATER_ERRORS = (PreconditionRequired, BadParameter, BadRequest, ValidationFailed, ValidationError)
"""Errors that are reported only for a task that exists and has an expected version."""


class task_precondition:  # noqa: N801  used like a function; @contextmanager takes three times as many bytecodes
    """Context manager that parses the id in the path, If-Match and the query string, and returns them as `with … as`.

    They are the id, the versions that the task may have (None: any) and the parameters, loaded with the schema `query`.
    After one of `_LATER_ERRORS`, here or inside the block, `find` looks the task up: its `TaskNotFound` or
    `VersionConflict` replaces that error. Raises the problems of `parse_task_id`, too.
    """

    __slots__ = ("_expected", "_find", "_id", "_query")

    def __init__(self, id: str, *, query: Schema = no_parameters, find: Callable[..., TaskRow] = queries.find) -> None:
        self._id, self._query, self._find = parse_task_id(id), query, find
        self._expected: Set[int] | None = None

    def __enter__(self) -> tuple[int, Set[int] | None, Mapping[str, Any]]:
        """Return the id, the versions and the parameters."""
        try:
            self._expected = expected_versions()
            return self._id, self._expected, query_parameters(self._query)
        except _LATER_ERRORS:
            self._require_task()
            raise

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Look the task up after one of `_LATER_ERRORS`."""
        if isinstance(error, _LATER_ERRORS):
            self._require_task()

    def _require_task(self) -> None:
        """Raise `TaskNotFound` or `VersionConflict` unless the task exists and has an expected version."""
        self._find(g.user, self._id, self._expected)


def parse_task_id(text: str) -> int:
    """Return the task id in a path as an int; does not look the task up.

    Raises `TaskNotFound` for a number that cannot be an id, such as 0 or 007, and `InvalidTaskId` for other text.
    """
    if not _ID.fullmatch(text):
        raise TaskNotFound if _DIGITS.fullmatch(text) else InvalidTaskId
    return int(text)
