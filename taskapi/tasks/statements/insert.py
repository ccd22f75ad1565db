"""INSERT of one new task, sent in one round trip with the statement that allocates its id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from ...auth.tokens import User
from ...database.prepared import BoundStatement, Prepared
from ...database.unit_of_work import fetch
from .. import models, positions
from ..models import Task
from ..recurrence import schedule
from .counters import bind_allocation
from .quota import check_quota
from .rows import COLUMNS, MEMBER_BINDS, OWNER, TaskRow, task_columns

# INSERT … SELECT takes id and revision from the user's row, which the statement before it has updated and locked.
_COUNTER_COLUMNS = {
    "user_id": models.User.user_id,
    "id": models.User.last_task_id,
    "revision": models.User.revision,
    "created_revision": models.User.revision,
    "position": positions.initial_position_sql(models.User.last_task_id),
}

_INSERT_NEXT = Prepared(
    insert(Task)
    .from_select(
        [*_COUNTER_COLUMNS, *MEMBER_BINDS],
        select(*_COUNTER_COLUMNS.values(), *MEMBER_BINDS.values()).where(models.User.user_id == OWNER),
    )
    .returning(*COLUMNS)
)


def insert_next(user: User, moment: datetime, values: Mapping[str, Any]) -> TaskRow:
    """Allocate the next id and insert a task with it; `values` are the members of the request.

    Raises `QuotaExceeded`, and ValidationError for contradictory members about time.
    """
    (counters,), (row,) = fetch(*bind_insert(user, moment, values))
    check_quota(counters.live_tasks)
    return row


def bind_insert(user: User, moment: datetime, values: Mapping[str, Any]) -> tuple[BoundStatement, BoundStatement]:
    """Bind the statements of `insert_next`: the counters, whose quota the caller checks, and the task.

    Raises ValidationError for contradictory members about time.
    """
    columns = task_columns(moment, values)
    schedule.check_next_occurrence(columns)
    return bind_allocation(user, 1), _INSERT_NEXT(owner=user.id, **columns)
