"""An OpenTelemetry collector on 127.0.0.1: decodes the spans that it receives as OTLP over HTTP (protobuf)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.waiting import until


@dataclass(frozen=True)
class ReceivedSpan:
    """A span: its ids in hexadecimal, and the attributes of the span and of its process."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool


class Collector:
    """The spans received so far; `hangs` makes it accept exports without a response."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.batches: list[int] = []
        self.bodies: list[bytes] = []
        self.over = threading.Event()
        self.hangs = False
        self.url = ""

    def trace(self, trace_id: str, *, spans: int) -> list[ReceivedSpan]:
        """Return the spans of a trace, once there are that many."""
        return until(lambda: found if len(found := self._of(trace_id)) >= spans else [])

    def _of(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def receive(self, body: bytes) -> None:
        """Decode an export."""
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            ReceivedSpan(
                span.name,
                span.kind,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                _values(span.attributes),
                _values(resource.resource.attributes),
                span.status.code == Status.STATUS_CODE_ERROR,
            )
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        self.bodies.append(body)
        self.batches.append(len(spans))
        self.spans += spans


def _values(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dictionary."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector until the context ends."""
    received = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if received.hangs:
                received.over.wait()
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            received.receive(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield received
        finally:
            received.over.set()
            server.shutdown()
            thread.join()
