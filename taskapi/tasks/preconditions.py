"""The task that a request is for, and the order in which refusals speak."""

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
from .statements.errors import TaskNotFound
from .statements.rows import TaskRow

_ID = re.compile(r"[1-9][0-9]{0,17}")
"""An id in its one spelling, and small enough for a bigint of any database."""


@contextmanager
def task_precondition(
    id: str, *, query: Schema = no_parameters, find: Callable[..., TaskRow] = queries.find
) -> Iterator[tuple[int, Set[int] | None]]:
    """The id of the task that a write is for, and the versions it may have.

    Other errors of the request, also those raised inside the block, are reported only for a task that exists and has
    such a version: 404 comes first, then 428 and 412, then 400 and 422.
    """
    number, expected = parse_task_id(id), None
    try:
        expected = expected_versions()
        query_parameters(query)
        yield number, expected
    except (PreconditionRequired, BadParameter, BadRequest, ValidationFailed, ValidationError):
        find(g.user, number, expected)
        raise


def parse_task_id(text: str) -> int:
    """The id in a path; whatever could never be one is as absent as an id that was never given."""
    if not _ID.fullmatch(text):
        raise TaskNotFound
    return int(text)
