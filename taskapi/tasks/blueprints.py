"""The two blueprints of the views of all subpackages; the guard checks every request before its view runs."""

from __future__ import annotations

from werkzeug.routing import BaseConverter

from ..guard.blueprint import guarded_blueprint

MAX_BULK_BODY_BYTES = 1024 * 1024
"""Maximum bytes of the body of a batch."""


class TaskIdConverter(BaseConverter):
    """Matches a path segment as a task id, except `batch`, which is a path of its own for every method."""

    regex = r"(?!batch\Z)[^/]+"
    part_isolating = True  # werkzeug would infer False from the `/` in the pattern, which matches no slash


tasks_bp = guarded_blueprint("tasks", __name__, "/api/<user_id>/tasks")
"""Endpoints of the list and of a single task."""

data_bp = guarded_blueprint("data", __name__, "/api/<user_id>")
"""Endpoints of all of a user's tasks at once: batch, delta feed, statistics, export, import, erasure."""

# The converter is registered before the rules that use it: deferred functions of a blueprint run in order.
tasks_bp.record(lambda setup: setup.app.url_map.converters.update(task=TaskIdConverter))
