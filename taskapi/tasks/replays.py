"""What is stored of the response to a request with an `Idempotency-Key`, and how a replay rebuilds the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from ..auth.tokens import User
from ..http.errors import TaskDeleted
from ..idempotency.hook import REPLAYED, Answer, Idempotent
from . import queries
from .responses import etag
from .schemas import task_out
from .statements.rows import TaskRow


def reduce(answer: Answer) -> Answer:
    """Name the task that a response is, or cut the tasks of a batch down to their ids.

    Only the response of a single task may be stored whole, under the task's id: so whoever deletes a task permanently
    finds every copy of its content.
    """
    data = orjson.loads(answer.body) if answer.body else {}
    if "results" in data:
        ids = [task and {"id": task["id"]} for task in data["results"]]
        return replace(answer, reduced=orjson.dumps({"results": ids}))
    if "id" in data:
        return replace(answer, task_id=data["id"], reduced=b"")
    return answer


def rebuild(user: User, answer: Answer) -> Answer:
    """The response of a reduced one, with each task as it is now; nothing is carried out again.

    In a batch a task that was deleted permanently is null. Raises `TaskDeleted` where it is the whole response.
    """
    if answer.task_id is None:
        ids = [task and task["id"] for task in orjson.loads(answer.body)["results"]]
        found = queries.find_all(user, {number for number in ids if number})
        return replace(answer, body=orjson.dumps({"results": [_dump(found.get(number)) for number in ids]}))
    row = queries.find_all(user, {answer.task_id}).get(answer.task_id)
    if row is None:
        raise TaskDeleted(
            "The request was carried out. Its task has been deleted permanently since.", headers={REPLAYED: "true"}
        )
    return replace(answer, headers={**answer.headers, "ETag": etag(row)}, body=orjson.dumps(task_out.dump(row)))


def _dump(row: TaskRow | None) -> Any:
    return None if row is None else task_out.dump(row)


idempotent = Idempotent(reduce, rebuild)
"""Marks a view that changes something."""
