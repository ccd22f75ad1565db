"""What the service says of a task, and of one that cannot be had."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask, Response
from marshmallow import ValidationError

from .. import fields
from ..errors import Invalid, NotFound, PreconditionFailed, Problem, QuotaExceeded, respond
from ..response import answer
from . import statements
from .schemas import task_out
from .statements import REFUSALS, Absent, Changed, TaskRow


def init_app(app: Flask) -> None:
    """Turn the refusals of statements into problems, wherever they are raised."""
    for refusal in REFUSALS:
        app.register_error_handler(refusal, lambda error: respond(as_problem(error)))


def task_answer(row: TaskRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A task, with its version as ETag."""
    return answer(task_out.dump(row), status, etag=etag(row), headers=headers)


def etag(row: TaskRow) -> str:
    """The version, as an entity tag."""
    return f'"{row.revision}"'


def as_problem(error: Exception) -> Problem:
    """The problem that a refusal is."""
    if isinstance(error, Absent):
        # One answer, byte for byte, whatever the reason a task is not there.
        return NotFound("You have no task of this id.")
    if isinstance(error, Changed):
        return PreconditionFailed("`current` is what it is now.", current=task_out.dump(error.current))
    if isinstance(error, statements.QuotaExceeded):
        return QuotaExceeded(f"You may have {error.quota} tasks that are not in the trash.")
    if isinstance(error, ValidationError):
        return Invalid("`errors` names each member that must change.", errors=fields.violations(error))
    raise error
