"""Spans of requests, exported with OpenTelemetry (OTLP over HTTP). Imported only if OTEL_EXPORTER_OTLP_ENDPOINT is set.

OpenTelemetry's own variables configure the rest: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_BSP_… and so on.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from ..config.settings import VERSION
from .limited_log import LimitRepeats
from .trace_context import TraceContext

MAX_BATCH = 64
"""Spans of an export, unless OTEL_BSP_MAX_EXPORT_BATCH_SIZE is set: encoding them blocks the worker's other requests,
for 1.8 ms; OpenTelemetry's default of 512 takes 17 ms."""

FLUSH_TIMEOUT = 3.0
"""Seconds that a stopping process may take to export its last spans."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""Methods that a span may name: any other is a text that the client has chosen."""

_EXPORT_LOGS = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.exporter.otlp.common.http")
_QUEUE_LOG = "opentelemetry.sdk._shared_internal"


class RequestTrace:
    """The server span of a request."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = trace.set_span_in_context(span)
        self.trace_id = trace.format_trace_id(span.get_span_context().trace_id)

    def child(self, name: str, attributes: Mapping[str, Any]) -> AbstractContextManager[object]:
        """Return a context manager that makes a client span of its block; an exception marks the span as failed.

        Its message, which may quote values, is not exported: only its class, or the SQLSTATE of a database's error.
        """
        return _ending(self._tracer.start_span(name, self._context, SpanKind.CLIENT, attributes))

    def end(self, method: str, route: str | None, status: int, request_id: str | None) -> None:
        """End the span with the outcome of the request (semantic conventions for HTTP); from 500 on it has failed."""
        span = self._span
        attributes = {"http.route": route, "taskapi.request_id": request_id}
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        span.set_attribute("http.response.status_code", status)
        if route:
            span.update_name(f"{_span_method(method)} {route}")
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()


class Tracing:
    """Makes the spans of a process and exports them in the background; starts with its first request.

    So the exporter's thread, which a fork would end, is one of the worker that serves the request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = trace.NoOpTracer()
        atexit.register(self.stop)

    def start_request(self, method: str, scheme: str, caller: TraceContext | None) -> RequestTrace:
        """Start the server span of a request, as a child of the caller's span, if its `traceparent` is valid."""
        if self._provider is None:
            self._start()
        attributes = {"http.request.method": _known_method(method), "url.scheme": scheme}
        name = _span_method(method)
        span = self._tracer.start_span(name, _remote_context(caller), SpanKind.SERVER, attributes)
        return RequestTrace(self._tracer, span)

    def stop(self) -> None:
        """Export the last spans of this process, within `FLUSH_TIMEOUT`, and stop; nothing if it has none."""
        provider, self._provider = self._provider, None
        if provider is not None:
            self._tracer = trace.NoOpTracer()
            stopping = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
            stopping.start()
            stopping.join(FLUSH_TIMEOUT)

    def _start(self) -> None:
        """Create the provider with its queue and its exporter, once, also if several requests come first together."""
        with self._lock:
            if self._provider is None:
                provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
                provider.add_span_processor(_processor())
                self._tracer = provider.get_tracer("taskapi", VERSION)
                self._provider = provider


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    """End a span with its block, as failed if that raises."""
    try:
        yield
    except BaseException as error:
        code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
        span.set_attribute("error.type", code or type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()


def _known_method(method: str) -> str:
    """Return a method for an attribute; `_OTHER` for one that is not in `METHODS`."""
    return method if method in METHODS else "_OTHER"


def _span_method(method: str) -> str:
    """Return a method for the name of a span; `HTTP` for one that is not in `METHODS`."""
    return method if method in METHODS else "HTTP"


def _remote_context(caller: TraceContext | None) -> Any:
    """Return the context in which a server span is the child of the caller's span; an empty one without a caller."""
    if caller is None:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if caller.sampled else trace.TraceFlags.DEFAULT)
    parent = trace.SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


def _resource() -> Resource:
    """Return the attributes of this process: OTEL_RESOURCE_ATTRIBUTES, the version, OTEL_SERVICE_NAME or `taskapi`."""
    detected = Resource.create()
    own = {SERVICE_VERSION: VERSION}
    if str(detected.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        own[SERVICE_NAME] = "taskapi"
    return detected.merge(Resource(own))


def _processor() -> BatchSpanProcessor:
    """Return the queue of finished spans, bounded by OTEL_BSP_MAX_QUEUE_SIZE (2,048), and its exporter.

    When the queue is full a new span takes the place of the oldest. Failed exports are logged once a minute.
    """
    for name in _EXPORT_LOGS:
        log = logging.getLogger(name)
        if not any(isinstance(each, LimitRepeats) for each in log.filters):
            log.addFilter(LimitRepeats())
    # It would make a log record for each span beyond the queue; the failed exports, the reason for it, are logged.
    logging.getLogger(_QUEUE_LOG).setLevel(logging.CRITICAL)
    size = None if "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in os.environ else MAX_BATCH
    return BatchSpanProcessor(OTLPSpanExporter(), max_export_batch_size=size)
