"""What is known about the current request: its ids, route and user, and the statements that it has executed.

It is kept only if the log is in JSON or traces are exported: `http/observation.py` makes it, the database connections
(`database/observed.py`) count in it, and log lines and spans are made of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

ENVIRON_KEY = "taskapi.request_record"
"""Key of the WSGI environ for the record of the request."""

MAX_SPAN_NAME = 255
"""Characters of the name of a span (OpenTelemetry's limit for `db.query.summary`)."""


class Trace(Protocol):
    """The server span of a request, in which spans of its calls to other servers can be made."""

    trace_id: str

    def end(self, method: str, route: str | None, status: int, request_id: str | None) -> None:
        """End the span with the outcome of the request."""

    def child(self, name: str, attributes: Mapping[str, Any]) -> AbstractContextManager[object]:
        """Return a context manager that makes a span of its block; an exception marks the span as failed."""


@dataclass(slots=True)
class RequestRecord:
    """The facts about one request that its log line and its span have; those that are not known yet are None."""

    trace_id: str | None = None
    trace: Trace | None = None
    """Its server span, if traces are exported."""
    request_id: str | None = None
    route: str | None = None
    user: str | None = None
    """The hash of the user's id."""
    statements: int = 0
    round_trips: int = 0


current_record: ContextVar[RequestRecord | None] = ContextVar("taskapi_request_record", default=None)
"""The record of the request that this greenlet or thread serves."""


def round_trip(system: str, names: Sequence[str], statements: int) -> AbstractContextManager[object]:
    """Count a round trip to the database for the current request; return the context manager of its span.

    `system` is the database, `names` are the statements that are sent, `statements` how many of them count.
    """
    record = current_record.get()
    if record is None:
        return nullcontext()
    record.statements += statements
    record.round_trips += 1
    if record.trace is None:
        return nullcontext()
    return record.trace.child(_summary(names), _attributes(system, names))


def call(record: RequestRecord | None, name: str, attributes: Mapping[str, Any]) -> AbstractContextManager[object]:
    """Return the context manager of the span of a call to another server, made for the request of a record."""
    return record.trace.child(name, attributes) if record and record.trace else nullcontext()


def _summary(names: Sequence[str]) -> str:
    """Return the names in order, each once, with the number of its repetitions."""
    return "; ".join(name if count == 1 else f"{name} x{count}" for name, count in Counter(names).items())[
        :MAX_SPAN_NAME
    ]


def _attributes(system: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the attributes of a round trip (OpenTelemetry's semantic conventions for databases)."""
    attributes: dict[str, Any] = {"db.system.name": system, "db.query.summary": _summary(names)}
    if len(names) > 1:
        attributes["db.operation.batch.size"] = len(names)
    return attributes
