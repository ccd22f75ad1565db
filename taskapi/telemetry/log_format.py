"""`LOG_FORMAT=json`: each log line is a JSON object with the fields of `FIELDS`, on one line, whatever it reports."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson

from .request_record import RequestRecord, current_record

log = logging.getLogger(__name__)

FIELDS = (
    *("time", "level", "logger", "message", "pid", "stack_trace", "request_id", "trace_id", "user"),
    *("address", "method", "route", "status", "bytes", "duration_ms", "statements", "round_trips"),
)
"""All fields of a line; one that is unknown, or does not apply, is absent. docs/operations.md explains each."""

ACCESS_LOGGER = "gunicorn.access"


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON, with the ids of the current request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: `message` is the first line of the message, `stack_trace` its others and a traceback."""
        message, _, rest = record.getMessage().partition("\n")
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return json_line(
            {
                "time": timestamp(record.created),
                "level": record.levelname,
                "logger": record.name,
                "message": message,
                "pid": record.process,
                "stack_trace": "\n".join(filter(None, (rest, trace))) or None,
                **request_fields(current_record.get()),
            }
        )


def access_line(created: float, record: RequestRecord | None, members: Mapping[str, Any]) -> str:
    """Return the line of a request: `members`, and what its record has; `created` is in seconds since 1970."""
    fields = {
        "time": timestamp(created),
        "level": "INFO",
        "logger": ACCESS_LOGGER,
        "message": "request",
        "pid": os.getpid(),
        **request_fields(record),
        **members,
    }
    if record is not None:
        fields |= {"route": record.route, "statements": record.statements, "round_trips": record.round_trips}
    return json_line(fields)


def request_fields(record: RequestRecord | None) -> dict[str, Any]:
    """Return the fields that name a request and its user; none without a record."""
    if record is None:
        return {}
    return {"request_id": record.request_id, "trace_id": record.trace_id, "user": record.user}


def json_line(fields: Mapping[str, Any]) -> str:
    """Return the fields that are not None as one line of JSON."""
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        return orjson.dumps(present).decode()
    except TypeError:  # a lone surrogate, which orjson refuses; json escapes it
        return json.dumps(present, default=str)


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as an RFC 3339 time in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def use_json() -> None:
    """Write all logs of the process in JSON to stderr, also warnings and exceptions that nothing catches.

    A process whose root logger has handlers keeps those.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
    logging.captureWarnings(True)
    sys.excepthook = log_exception
    threading.excepthook = lambda failed: log_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)


def log_exception(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, *_: object
) -> None:
    """Log an exception that nothing has caught (the signature of `sys.excepthook`); an interrupt is not one."""
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("unhandled %s", kind.__name__, exc_info=(kind, error or kind(), trace))


def handle_hub_error(_context: object, kind: Any, error: Any, trace: Any) -> None:
    """Log an exception that ended a greenlet, where gevent's hub would print it (`Hub.handle_error`)."""
    if issubclass(kind, Exception):
        log.error("unhandled %s\n%s", kind.__name__, "".join(traceback.format_exception(kind, error, trace)))


def start_error(error: Exception, environ: Mapping[str, str]) -> str:
    """Return the text with which a process that cannot start exits: one line of JSON with `LOG_FORMAT=json`."""
    if environ.get("LOG_FORMAT", "").strip() != "json":
        return str(error)
    record = logging.LogRecord(__name__, logging.CRITICAL, "", 0, " ".join(str(error).split()), None, None)
    return JsonFormatter().format(record)
