"""Observe requests for the JSON log and for traces: a record with the ids, the route and the user of each request.

Without both nothing is installed, and a request costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from werkzeug.wsgi import ClosingIterator

from ..config.settings import Config
from ..telemetry.request_record import ENVIRON_KEY, RequestRecord, current_record
from ..telemetry.trace_context import parse_traceparent
from ..telemetry.user_hash import user_hasher
from .request_id import request_id
from .routing import path_template

if TYPE_CHECKING:
    from ..telemetry.tracing import Tracing

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

_EXTENSION = "taskapi.http.observation"


def init_app(app: Flask, config: Config) -> None:
    """Observe the requests of an application if the log is in JSON or traces are exported; otherwise do nothing.

    Call it after the other wrappers of `app.wsgi_app`, so that their work counts.
    """
    if not config.observes_requests:
        return
    observer = Observer(_tracing() if config.exports_traces else None)
    hash_user = user_hasher(config.log_user_key)

    def note_user(response: Response) -> Response:
        """Add the hash of the authenticated user, if there is one, to the record."""
        if (record := current_record.get()) and (user := g.get("user")):
            record.user = hash_user(user.id)
        return response

    # First, because a hook that fails ends the request.
    app.before_request_funcs.setdefault(None, []).insert(0, _note_route)
    app.after_request(note_user)
    app.extensions[_EXTENSION] = observer
    vars(app)["wsgi_app"] = observer.in_front_of(app.wsgi_app)


class Observer:
    """Makes the records of requests and, if `tracing` is not None, their spans."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing

    def in_front_of(self, application: Application) -> Application:
        """Return a WSGI application that observes each request, unless an outer application does."""

        def observed(environ: Environ, start_response: Any) -> Iterable[bytes]:
            """Make the record, which lasts until the response is closed, and call the application."""
            if ENVIRON_KEY in environ:
                return application(environ, start_response)
            record = environ[ENVIRON_KEY] = self._record(environ)
            response = _Response(record, environ["REQUEST_METHOD"], start_response)
            current_record.set(record)
            try:
                pieces = application(environ, response.start)
            except BaseException:
                response.end()
                raise
            return ClosingIterator(pieces, [response.end])

        return observed

    def stop(self) -> None:
        """Export the last spans of this process."""
        if self._tracing:
            self._tracing.stop()

    def _record(self, environ: Environ) -> RequestRecord:
        """Return the record of a request, with the ids of its `traceparent`, and its span."""
        caller = parse_traceparent(environ.get("HTTP_TRACEPARENT", ""))
        if self._tracing is None:
            return RequestRecord(caller and caller.trace_id)
        trace = self._tracing.start_request(environ["REQUEST_METHOD"], environ["wsgi.url_scheme"], caller)
        return RequestRecord(trace.trace_id, trace)


class _Response:
    """The response of an observed request: notes its status, and ends the record."""

    def __init__(self, record: RequestRecord, method: str, start_response: Any) -> None:
        self._record, self._method, self._start = record, method, start_response
        self._status = 500

    def start(self, status: str, headers: Any, *exc_info: Any) -> Any:
        """Note the status, and start the response (PEP 3333)."""
        self._status = int(status.split(" ", 1)[0])
        return self._start(status, headers, *exc_info)

    def end(self) -> None:
        """End the span; this greenlet or thread serves no request any more."""
        current_record.set(None)
        if trace := self._record.trace:
            trace.end(self._method, self._record.route, self._status, self._record.request_id)


def _note_route() -> None:
    """Add the request id and the route to the record."""
    if record := current_record.get():
        record.request_id = request_id()
        record.route = path_template(request.url_rule.rule) if request.url_rule else None


def _tracing() -> Tracing:
    """Return the tracing of this process; OpenTelemetry is imported here."""
    from ..telemetry import tracing  # noqa: PLC0415

    return tracing.Tracing()


def in_front_of(application: Application, app: Application) -> Application:
    """Return `application`, which calls `app`, with the observation in front of it, if `app` is observed.

    The worker calls it, so that the wait for a slot is a part of the request.
    """
    observer = _observer(app)
    return observer.in_front_of(application) if observer else application


def stop(app: Application) -> None:
    """Export the last spans of this process, if `app` is traced; called when a worker stops."""
    if observer := _observer(app):
        observer.stop()


def _observer(app: Application) -> Observer | None:
    """Return the observer of an application; None for one that is not observed, or not made by `create_app`."""
    return app.extensions.get(_EXTENSION) if isinstance(app, Flask) else None
