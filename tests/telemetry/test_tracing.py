"""Traces: gunicorn with the production settings exports real OTLP to a collector that decodes it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.trace import SpanKind

from taskapi.config.settings import Config, ConfigError
from taskapi.telemetry.tracing import MAX_BATCH, Tracing
from tests.auth.issuer import Signer
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET, delete_all_rows, token
from tests.gunicorn_server import ROOT, Request, Server, ServerResponse, launch
from tests.telemetry.collector import Collector, ReceivedSpan, collector
from tests.waiting import WAIT_LIMIT, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3
"""Kinds of spans in OTLP."""


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as running:
        yield running


@dataclass(frozen=True)
class Traced:
    """A server that exports its spans to a collector; each test has traces of its own."""

    server: Server
    received: Collector

    def send(self, method: str, path: str = "", *, user: str = "alice", header: str = "", **options: Any) -> Exchange:
        """Send a request with a `traceparent`, and wait for its server span."""
        headers = (("traceparent", header), ("X-Request-Id", secrets.token_hex(8)))
        response = self.server.send(user, Request(method, path, options.get("json"), headers))
        request_id = response.headers["X-Request-Id"]
        root = until(lambda: [s for s in self.received.spans if s.attributes.get("taskapi.request_id") == request_id])[
            0
        ]
        spans = [s for s in self.received.spans if s.trace_id == root.trace_id and s is not root]
        return Exchange(response, root, spans)


class Exchange(NamedTuple):
    """A response, the server span of its request, and the other spans of the trace."""

    response: ServerResponse
    root: ReceivedSpan
    children: list[ReceivedSpan]


@pytest.fixture(scope="module")
def exporting(database_url: str) -> Iterator[Traced]:
    """A server on each database, shared by the tests of the module."""
    with collector() as received, launch(database_url, "wsgi:app", **settings(received)) as (_, server):
        yield Traced(server, received)
    delete_all_rows(database_url)


def caller() -> tuple[str, str]:
    """Return the id of a new trace, and the header by which a caller names it."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{PARENT}-01"


def traced(flags: str = "01", trace: str = TRACE) -> tuple[tuple[str, str], ...]:
    """Return the header by which a caller names its trace."""
    return (("traceparent", f"00-{trace}-{PARENT}-{flags}"),)


def settings(received: Collector, **others: str) -> dict[str, str]:
    """Return the environment of a server that exports its spans soon."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **others}


def server_span(spans: list[ReceivedSpan]) -> ReceivedSpan:
    (span,) = (span for span in spans if span.kind == SERVER)
    return span


def test_a_request_is_a_server_span_of_the_callers_trace_with_a_child_for_each_round_trip(exporting: Traced):
    trace, header = caller()
    response, root, children = exporting.send("POST", json={"title": "Buy milk"}, header=header)
    assert response.status == 201
    assert (root.trace_id, root.parent_id, root.kind, root.failed) == (trace, PARENT, SERVER, False)
    assert root.name == "POST /api/{user_id}/tasks"
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/{user_id}/tasks",
        "http.response.status_code": 201,
        "url.scheme": "http",
        "taskapi.request_id": response.headers["X-Request-Id"],
    }
    assert root.resource["service.name"] == "taskapi"
    assert {(span.parent_id, span.kind) for span in children} == {(root.span_id, CLIENT)}
    (system,) = {span.attributes["db.system.name"] for span in children}
    names = "; ".join(span.name for span in children)
    assert "tasks.statements." in names
    if system == "postgresql":
        assert names.startswith("BEGIN; set_current_user; ")
        assert names.endswith("; COMMIT")
        assert children[0].attributes["db.query.summary"] == names
        assert children[0].attributes["db.operation.batch.size"] >= 4


def test_spans_contain_neither_users_nor_values_nor_tokens(exporting: Traced):
    for method, path, body in (
        ("POST", "", {"title": "A secret plan"}),
        ("GET", "?q=secret", None),
        ("GET", "?status=pending", None),
        ("GET", "/1", None),
        ("PATCH", "/1/complete", None),
        ("GET", "/no-such-path/walter", None),
    ):
        exporting.send(method, path, user="walter-the-user", json=body)
    exported = b"".join(exporting.received.bodies)
    for secret in (b"walter", b"secret", b"plan", token("walter").split(".")[0].encode(), SECRET.encode()):
        assert secret not in exported


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_request_without_a_valid_traceparent_begins_a_trace(exporting: Traced, header: str):
    _, root, children = exporting.send("GET", header=header)
    assert root.parent_id == ""
    assert root.trace_id not in (TRACE, "0" * 32)
    assert children


def test_a_trace_that_the_caller_does_not_record_is_not_exported(exporting: Traced):
    trace, header = caller()
    exporting.server.send("alice", Request("GET", headers=(("traceparent", header.removesuffix("01") + "00"),)))
    exporting.send("GET")
    assert not [span for span in exporting.received.spans if span.trace_id == trace]


def test_the_standard_variables_choose_the_sampler(sqlite_database_url: str, received: Collector):
    with launch(sqlite_database_url, "wsgi:app", **settings(received, OTEL_TRACES_SAMPLER="always_off")) as (_, server):
        server.send("alice", Request("GET", headers=traced()))
    assert not received.spans


def test_a_response_from_500_on_is_a_failed_span_and_a_failed_statement_names_the_reason_only(
    tmp_path: Path, received: Collector
):
    """The database is not migrated: its table does not exist."""
    with launch(f"sqlite:///{tmp_path}/new.db", "wsgi:app", **settings(received)) as (_, server):
        assert server.send("alice", Request("GET", headers=traced())).status == 500
        spans = received.trace(TRACE, spans=2)
    assert server_span(spans).failed
    assert server_span(spans).attributes["error.type"] == "500"
    (statement,) = (span for span in spans if span.kind == CLIENT)
    assert statement.failed
    assert statement.attributes["error.type"] == "SQLITE_ERROR"


def test_a_fetch_of_the_key_set_is_a_span_of_the_request_that_started_it(sqlite_database_url: str, received: Collector):
    known, new = Signer("EdDSA"), Signer("ES256")
    keys = KeyServer(known.jwk())
    key_pair = {"BETTER_AUTH_JWKS_URL": f"{keys.url}?key=hidden", "WEB_CONCURRENCY": "1"}
    try:
        with launch(sqlite_database_url, "wsgi:app", **settings(received, **key_pair)) as (_, server):
            until(lambda: keys.fetches)  # the fetch at the start belongs to no request
            keys.keys.append(new.jwk())
            now = int(time.time())
            token = new.token({"sub": "alice", "iat": now, "exp": now + 900})
            request = Request("GET", headers=(("Authorization", f"Bearer {token}"), *traced()))
            until(lambda: server.send("alice", request).status == 200)  # an unknown key is fetched once a second
            until(lambda: any(span.name == "fetch of the key set" for span in received.spans))
    finally:
        keys.stop()
    (fetch,) = (span for span in received.spans if span.name == "fetch of the key set")
    assert fetch.parent_id in {span.span_id for span in received.spans if span.kind == SERVER}
    assert fetch.trace_id == TRACE
    assert fetch.attributes["http.request.method"] == "GET"
    assert fetch.attributes["url.full"].startswith(keys.url)
    assert "hidden" not in str(received.bodies)


def test_a_stopping_worker_exports_its_last_spans(sqlite_database_url: str, received: Collector):
    slow = settings(received, OTEL_BSP_SCHEDULE_DELAY="600000", WEB_CONCURRENCY="1")
    with launch(sqlite_database_url, "wsgi:app", **slow) as (process, server):
        server.send("alice", Request("GET", headers=traced()))
        assert not received.spans
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_LIMIT)
    assert received.trace(TRACE, spans=2)


def test_a_collector_that_hangs_or_is_absent_delays_neither_requests_nor_the_end(
    sqlite_database_url: str, received: Collector, tmp_path: Path
):
    """The queue is bounded, the worker goes on serving, and the failure is logged once a minute and worker."""
    received.hangs = True
    log = tmp_path / "log"
    small = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5", "WEB_CONCURRENCY": "1"}
    with launch(sqlite_database_url, "wsgi:app", **settings(received, **small)) as (process, server):
        responses = [server.send("alice", Request("GET")) for _ in range(40)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_LIMIT) == 0
    assert {response.status for response in responses} == {200}
    with launch(
        sqlite_database_url,
        "wsgi:app",
        log=log,
        **{**settings(received, **small), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "LOG_FORMAT": "json"},
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    ) as (_, server):
        responses = [server.send("alice", Request("GET")) for _ in range(40)]
        until(lambda: "Failed to export" in log.read_text())
        responses += [server.send("alice", Request("GET")) for _ in range(40)]
    assert {response.status for response in responses} == {200}
    failures = re.findall(r'"message":"(Failed to export spans batch \w+|Transient error|Queue full)', log.read_text())
    assert len(failures) == len(set(failures)), "a kind of failure is logged once a minute"
    assert "Queue full" not in failures, "it would be a log record for each span"


def test_the_spans_of_an_export_are_few_so_that_encoding_them_takes_one_slice(received: Collector):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        tracing = Tracing()
        for _ in range(3 * MAX_BATCH):
            tracing.start_request("GET", "http", None).end("GET", None, 200, None)
        tracing.stop()
    assert sum(received.batches) == 3 * MAX_BATCH
    assert max(received.batches) == MAX_BATCH


def test_a_method_that_the_client_invented_is_not_in_a_span(received: Collector):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        tracing = Tracing()
        tracing.start_request("INVENTED", "http", None).end("INVENTED", None, 405, None)
        tracing.stop()
    (span,) = received.spans
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert SpanKind.SERVER.value == 1, "the SDK counts kinds from 0, OTLP from 1"


# Without it


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the repository; only these variables and the secret of the tests are set."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


CREATE = "import sys, taskapi; taskapi.create_app(); print(*sorted(n for n in sys.modules if n.startswith('opentel')))"


@pytest.mark.parametrize("environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"LOG_FORMAT": "json"}])
def test_without_an_endpoint_opentelemetry_is_not_imported(environ: dict[str, str]):
    assert run_python(CREATE, **environ).stdout == "\n"


def test_with_an_endpoint_it_is_imported_unless_the_sdk_is_disabled():
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert "opentelemetry.sdk.trace" in run_python(CREATE, **endpoint).stdout
    assert "opentelemetry.sdk.trace" not in run_python(CREATE, **endpoint, OTEL_SDK_DISABLED="true").stdout


def test_an_endpoint_without_the_packages_is_one_start_error_that_says_what_to_install():
    blocked = "import sys; sys.modules['opentelemetry'] = None\nimport wsgi"
    failed = run_python(blocked, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert failed.returncode == 1
    assert failed.stderr == (
        "taskapi cannot start:\n"
        "  - OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed:"
        " pip install --require-hashes -r requirements-otel.txt\n"
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT is not an http(s) URL"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is not http/protobuf",
        ),
    ],
)
def test_an_endpoint_that_cannot_work_is_a_start_error(environ: dict[str, str], problem: str):
    with pytest.raises(ConfigError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        Config.from_env({"BETTER_AUTH_SECRET": SECRET, **environ})


def test_without_traces_and_json_requests_pass_through_nothing_more(sqlite_database_url: str):
    """The hot path has no check for them: the application, its hooks and its connections are the plain ones."""
    code = (
        "import taskapi; app = taskapi.create_app()\n"
        "from taskapi.database.base import db\n"
        "from taskapi.http import observation\n"
        "with app.app_context(): connection = db.engine.raw_connection().dbapi_connection\n"
        "print('wsgi_app' in vars(app), len(app.before_request_funcs.get(None, [])), type(connection).__name__,\n"
        "      observation.in_front_of(app, app) is app)"
    )
    assert run_python(code, DATABASE_URL=sqlite_database_url).stdout == "False 0 SQLiteConnection True\n"
    observed = run_python(code, DATABASE_URL=sqlite_database_url, LOG_FORMAT="json")
    assert observed.stdout == "True 1 ObservedSQLiteConnection False\n"


def test_a_response_is_the_same_with_traces(exporting: Traced, database_url: str):
    def responses(server: Server) -> list[tuple[int, list[str], bytes]]:
        requests = [("GET", ""), ("HEAD", ""), ("GET", "/7"), ("GET", "?limit=x")]
        same = (("X-Request-Id", "same"),)
        return [_comparable(server.send("bob", Request(method, path, None, same))) for method, path in requests]

    with launch(database_url, "wsgi:app") as (_, plain):
        assert responses(plain) == responses(exporting.server)


def _comparable(response: ServerResponse) -> tuple[int, list[str], bytes]:
    return (
        response.status,
        [f"{k}: {v}" for k, v in response.headers.items() if k != "Date" and not k.startswith("RateLimit")],
        response.body,
    )
