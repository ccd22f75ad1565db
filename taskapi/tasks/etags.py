"""ETag of a task (RFC 9110, section 8.8.3), for `If-Match` and `If-None-Match`; that of a list is `State.etag`."""

from __future__ import annotations

from .statements.rows import TaskRow


def task_etag(row: TaskRow) -> str:
    """Return the ETag of a task: its revision in quotes, such as `"7"`."""
    return f'"{row.revision}"'
