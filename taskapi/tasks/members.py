"""Values of a task's members: the priorities, the modes of recurrence, and the defaults of a new task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRIORITIES = {"none": 0, "low": 1, "medium": 2, "high": 3}
"""The priority in JSON, and the integer that is stored for it."""

REPEAT_FROM = {"due": "due", "completion": "completion"}
"""What the next due date of a recurring task is counted from."""

DEFAULTS: Mapping[str, Any] = {
    "description": None,
    "completed": False,
    "priority": PRIORITIES["none"],
    "tags": (),
    "due_date": None,
    "due_time": None,
    "time_zone": None,
    "recurrence": None,
    "repeat_from": "due",
}
"""The values of the members that a new task's request does not send."""
