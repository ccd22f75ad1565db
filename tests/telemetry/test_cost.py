"""What metrics add to a request, in executed bytecodes: a figure that does not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from taskapi.server import measured_worker
from taskapi.server.measured_worker import MeasuredSlots, MeasuredWorker
from taskapi.telemetry import metrics
from tests.conftest import Person
from tests.telemetry.conftest import Scrape

LIST_OF_20 = 12_383
"""Bytecodes of the service for a list of 20 without metrics (`python -m bench.bytecodes list20`)."""

LIMIT = LIST_OF_20 // 50
"""2 % of them."""

FILES = ("/taskapi/telemetry/", "/taskapi/server/measured_worker.py", "/taskapi/database/measured.py")
"""Modules that are executed for metrics only."""


def bytecodes(call: Callable[[], object]) -> int:
    """Return how many bytecodes of `FILES` a call executes."""
    executed = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal executed
        executed += event == "opcode"
        return count

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if any(file in frame.f_code.co_filename for file in FILES):
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return count
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return executed


def test_metrics_add_at_most_2_percent_of_a_list_of_20_to_a_request(
    scrape: Scrape, make_app: Callable[..., Flask]
) -> None:
    app = make_app(METRICS_PORT="9090", RATE_LIMIT="off")
    metrics.REQUESTS.set_routes((rule.endpoint, "GET") for rule in app.url_map.iter_rules())
    alice = Person(app.test_client(), "alice")
    alice.add()
    path = f"/api/{alice.id}/tasks?limit=20"
    environ = EnvironBuilder(path, headers={"Authorization": f"Bearer {alice.token}"}).get_environ()

    worker = MeasuredWorker.__new__(MeasuredWorker)
    worker.wsgi = measured_worker._with_route(app)
    worker.log = SimpleNamespace(access=lambda *_: None)
    response = SimpleNamespace(
        status_code=200, start_response=lambda *_: None, write=lambda _: None, close=lambda: None
    )
    slots = MeasuredSlots(8)

    def serve() -> None:
        slots.acquire()
        worker._respond(SimpleNamespace(method="GET"), response, {**environ})
        slots.release()

    try:
        serve()
        assert 50 < bytecodes(serve) <= LIMIT
        assert scrape.value("taskapi_requests_total", "GET", "tasks.index", "200") == 2
    finally:
        metrics.REQUESTS.set_routes(())
