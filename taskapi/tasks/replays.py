"""Reduce the response of a request with an `Idempotency-Key` for storage, and rebuild it for a repeated request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from ..auth.tokens import User
from ..http.errors import TaskDeleted
from ..idempotency.hook import REPLAYED, Idempotent, RecordedResponse
from . import queries
from .etags import task_etag
from .schemas import task_out
from .statements.rows import TaskRow


def reduce(response: RecordedResponse) -> RecordedResponse:
    """Return the response with `task_id` set, if it is one task, or with a batch's tasks `reduced` to their ids.

    Returns any other response, which contains no task, as it is. Only a response that is one task may be stored with
    its content, under the task's id, so that deleting the task permanently can remove every copy.
    """
    data = orjson.loads(response.body) if response.body else {}
    if "results" in data:
        ids = [task and {"id": task["id"]} for task in data["results"]]
        return replace(response, reduced=orjson.dumps({"results": ids}))
    if "id" in data:
        return replace(response, task_id=data["id"], reduced=b"")
    return response


def rebuild(user: User, response: RecordedResponse) -> RecordedResponse:
    """Return a reduced response with the tasks as they are now, live or in the trash; does not execute the request.

    In the response of a batch, a task that was deleted permanently is null. Raises `TaskDeleted` if the response is
    that one task.
    """
    if response.task_id is None:
        ids = [task and task["id"] for task in orjson.loads(response.body)["results"]]
        tasks = queries.find_all(user, {task_id for task_id in ids if task_id})
        return replace(response, body=orjson.dumps({"results": [_dump(tasks.get(task_id)) for task_id in ids]}))
    row = queries.find_all(user, {response.task_id}).get(response.task_id)
    if row is None:
        raise TaskDeleted(
            "The request was carried out. Its task has been deleted permanently since.", headers={REPLAYED: "true"}
        )
    return replace(
        response, headers={**response.headers, "ETag": task_etag(row)}, body=orjson.dumps(task_out.dump(row))
    )


def _dump(row: TaskRow | None) -> Any:
    """Return a task as it is in a response; None (null) if `row` is None, for a task that was deleted permanently."""
    return None if row is None else task_out.dump(row)


idempotent = Idempotent(reduce, rebuild)
"""Decorator of views that write: carries a request with an `Idempotency-Key` out once."""
