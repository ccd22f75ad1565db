"""The floor of the benchmark: a minimal WSGI application with the same responses, on the same server as taskapi.

    python -m gunicorn --config python:bench.floor bench.floor:app

This module is also the gunicorn configuration: the repository's, without the hooks that need taskapi's application.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

# Load the configuration first: it applies gevent's monkey patches, which psycopg detects when it is imported.
_settings = runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py"))
globals().update({name: value for name, value in _settings.items() if not name.startswith("_")})

import jwt  # noqa: E402
import orjson  # noqa: E402
import psycopg  # noqa: E402
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads  # noqa: E402

bind = f"127.0.0.1:{os.environ.get('PORT') or '8000'}"
accesslog = "/dev/null"


def post_fork(server: Any, worker: Any) -> None:
    """gunicorn hook: pass the queue of inherited signals to the worker, as the repository's configuration does."""
    worker.inherited_signals = server.SIG_QUEUE


def when_ready(_: Any) -> None:
    """gunicorn hook: replace the repository's readiness check, which needs taskapi's application."""


SECRET = os.environ["BETTER_AUTH_SECRET"]
NAMES = (
    *("id", "user_id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "series_id", "next_task_id", "position", "version"),
    *("created_at", "updated_at", "deleted_at"),
)
MEMBERS = ", ".join(NAMES)

LIST = f"SELECT {MEMBERS} FROM tasks WHERE user_id = %s ORDER BY id DESC LIMIT %s"
ONE = f"SELECT {MEMBERS} FROM tasks WHERE user_id = %s AND id = %s"
CREATE = (
    "INSERT INTO tasks (user_id, title, description, priority, tags, due_date)"
    f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {MEMBERS}"
)
COMPLETE = (
    "UPDATE tasks SET completed = NOT completed, completed_at = CASE WHEN completed THEN NULL ELSE now() END,"
    f" updated_at = now(), version = version + 1 WHERE user_id = %s AND id = %s RETURNING {MEMBERS}"
)

MAX_IDLE_CONNECTIONS = 8
"""Maximum number of idle connections: the worker runs this many requests at a time (server/request_slots.py)."""

set_json_loads(orjson.loads)
set_json_dumps(orjson.dumps)
idle_connections: list[psycopg.Connection[Any]] = []
"""Idle connections of this process; the most recently used one is taken first (LIFO)."""


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """WSGI application: respond with JSON."""
    status, data = _answer(environ)
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _answer(environ: dict[str, Any]) -> tuple[str, Any]:
    """Verify the token and the user of the path, and return the status and the data of the response."""
    try:
        _, user, _, *rest = environ["PATH_INFO"][1:].split("/")
    except ValueError:
        return "404 Not Found", None
    try:
        token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        claims = jwt.decode(token, SECRET, ["HS256"], {"verify_aud": False})
    except jwt.InvalidTokenError:
        return "401 Unauthorized", None
    if claims.get("sub") != user:
        return "403 Forbidden", None
    try:
        return _tasks(environ, user, rest)
    except (ValueError, KeyError, TypeError, AttributeError, psycopg.DataError, psycopg.IntegrityError):
        return "400 Bad Request", None


def _tasks(environ: dict[str, Any], user: str, rest: list[str]) -> tuple[str, Any]:
    """Dispatch on the method and the path after `/tasks`, and return the status and the data."""
    match environ["REQUEST_METHOD"], rest:
        case "GET", []:
            limit = environ["QUERY_STRING"].removeprefix("limit=")
            return "200 OK", _run(LIST, user, int(limit or 1000))
        case "GET", [number]:
            return _one("200 OK", _run(ONE, user, int(number)))
        case "PATCH", [number, "complete"]:
            return _one("200 OK", _run(COMPLETE, user, int(number)))
        case "POST", []:
            # Read the body before taking a connection, because reading may block.
            task = orjson.loads(environ["wsgi.input"].read())
            get, tags = task.get, Jsonb(task.get("tags", []))
            values = (task["title"], get("description"), get("priority", "none"), tags, get("due_date"))
            return _one("201 Created", _run(CREATE, user, *values))
    return "404 Not Found", None


def _one(status: str, tasks: list[dict[str, Any]]) -> tuple[str, Any]:
    """Return the only task with this status, or 404 if there is none."""
    return (status, tasks[0]) if tasks else ("404 Not Found", None)


def _run(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Execute a prepared statement on a pooled connection and return its rows as dicts."""
    connection = idle_connections.pop() if idle_connections else _connect()
    try:
        rows = connection.execute(statement, values, prepare=True).fetchall()
    except BaseException:
        connection.close()  # its state is unknown
        raise
    if len(idle_connections) < MAX_IDLE_CONNECTIONS:
        idle_connections.append(connection)
    else:
        connection.close()
    return [dict(zip(NAMES, row, strict=False)) for row in rows]


def _connect() -> psycopg.Connection[Any]:
    # With the time zone UTC, which orjson serializes as Z.
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, options="-c timezone=UTC")
