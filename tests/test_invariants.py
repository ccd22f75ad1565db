"""Rules for every route, statement, response and table, also those that are added later."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, has_app_context, request, request_started
from flask.testing import FlaskClient
from prometheus_client import generate_latest
from sqlalchemy import inspect
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.http.errors import CATALOGUE
from taskapi.http.fields.strict import describe
from taskapi.telemetry import metrics
from taskapi.telemetry.collector import registry
from taskapi.telemetry.memory import SharedMemory, process
from tests.conftest import Person, Statements, build, delete_all_rows, record_statements, token
from tests.every_request import API, at, create_tasks, exceed_limits, olga, send_every_request, sign_out
from tests.statement_owners import SIGN_OUT_TABLES, find_owners

CHALLENGE = 'Bearer realm="taskapi"'
ABSENT_IDS = ("0", "01", "9" * 19, "9" * 5000)
NO_NUMBERS = ("-1", "1.0", "one", "%00", "undefined", "%D9%A3", "7a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301")


every_route = pytest.mark.parametrize(("method", "path"), API, ids=str)
every_route_to_a_task = pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in API if "{id}" in path], ids=str
)


def content(response: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body of a response for a comparison byte by byte."""
    return response.status_code, sorted(response.headers.items()), response.data


class WatchedBody(io.RawIOBase):
    """A request body that records whether it is read."""

    was_read = False

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        self.was_read = True
        return 0


def send_watched_body(client: FlaskClient, method: str, path: str, **headers: str) -> tuple[TestResponse, WatchedBody]:
    """Send a request with a body that records whether it is read; return the response and the body."""
    body = WatchedBody()
    response = client.open(
        path,
        method=method,
        headers=headers,
        content_type="application/json",
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": "1000"},
    )
    return response, body


def test_the_list_of_routes_is_not_empty():
    assert {("GET", "/api/{user_id}/tasks"), ("PATCH", "/api/{user_id}/tasks/{id}/complete")} <= set(API)
    assert len(API) >= 8


@every_route
def test_without_a_token_every_route_is_401_and_reads_nothing(
    client: FlaskClient, statements: Statements, method: str, path: str
):
    response, body = send_watched_body(client, method, at(path, "alice"))

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert not body.was_read
    assert not statements.sent


@every_route
def test_with_a_broken_token_every_route_is_401_and_reads_nothing(
    client: FlaskClient, statements: Statements, method: str, path: str
):
    response, body = send_watched_body(
        client, method, at(path, "alice"), Authorization=f"Bearer {token('alice', secret='another' * 8)}"
    )

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith(f'{CHALLENGE}, error="invalid_token", error_description="')
    assert not body.was_read
    assert not statements.sent


@every_route
def test_a_path_of_another_user_is_403_with_the_same_bytes_for_every_resource(
    client: FlaskClient, alice: Person, statements: Statements, method: str, path: str
):
    alice.add()
    statements.clear()
    headers = {"Authorization": f"Bearer {token('mallory')}", "X-Request-Id": "the-same"}

    responses, bodies = zip(
        *(send_watched_body(client, method, at(path, user, task), **headers) for user, task in [
            ("alice", 1), ("alice", 999), ("alice", "one"), ("nobody", 1), ("Mallory", 1), ("mallory%20", 1),
        ]),
        strict=True,
    )  # fmt: skip

    assert {response.status_code for response in responses} == {403}
    assert len({repr(content(response)) for response in responses}) == 1
    assert not any(body.was_read for body in bodies)
    assert not statements.sent


@every_route_to_a_task
def test_a_task_that_does_not_exist_is_404_with_the_same_bytes_for_every_reason(
    alice: Person, mallory: Person, method: str, path: str
):
    for _ in range(3):
        mallory.add()
    alice.add()
    deleted, destroyed = alice.add()["id"], alice.add()["id"]
    assert alice.delete(f"/{deleted}").status_code == 204
    assert alice.delete(f"/{destroyed}?permanent=true").status_code == 204
    mallory.add()
    below = path.removeprefix("/api/{user_id}/tasks")
    # Never assigned, permanently deleted, mallory's, no canonical id; a task in the trash can only be restored.
    missing = [999, destroyed, 4, *ABSENT_IDS]
    if below != "/{id}/restore":
        missing.append(deleted)

    responses = [alice.send(method, below.format(id=task), headers={"X-Request-Id": "the-same"}) for task in missing]

    assert {response.status_code for response in responses} == {404}
    assert len({repr(content(response)) for response in responses}) == 1


@every_route_to_a_task
def test_an_id_that_is_not_a_number_is_404_and_says_what_an_id_looks_like(alice: Person, method: str, path: str):
    """A frontend that sends `undefined` or a UUID: "You have no task of this id" would not name its mistake."""
    below = path.removeprefix("/api/{user_id}/tasks")
    responses = [alice.send(method, below.format(id=task), headers={"X-Request-Id": "the-same"}) for task in NO_NUMBERS]

    assert {response.status_code for response in responses} == {404}
    assert len({repr(content(response)) for response in responses}) == 1
    if method != "HEAD":
        expected = "The id of a task is a whole number, such as 7: send the `id` that the task has in the list."
        assert responses[0].get_json()["detail"] == expected


@pytest.mark.parametrize("path", sorted({path for _, path in API}))
def test_a_method_that_a_path_does_not_support_is_405_before_authentication(
    client: FlaskClient, statements: Statements, path: str
):
    known = {method for method, other in API if other == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE"} - known:
        response, body = send_watched_body(client, method, at(path, "alice"))
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == known | {"OPTIONS"}
        assert not body.was_read
    assert not statements.sent


# Every request, sent once on each database; the following tests check what was recorded.


@dataclass
class Recording:
    """What happened while every request was sent."""

    app: Flask
    responses: list[TestResponse] = field(default_factory=list)
    """The responses of olga's requests, each read to its end."""
    other_responses: list[TestResponse] = field(default_factory=list)
    """The responses beyond limits, of sign-outs and of pages outside of /api."""
    statements: list[tuple[str, Any]] = field(default_factory=list)
    """The SQL statements of olga's requests, with parameters."""
    endpoints: set[str | None] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)
    """Requests after which a connection was not returned or a context not popped."""


PAGES = (
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/problems/not-found",
    "/problems/nonsense",
    "/backchannel-logout",
    "/",
    "/api",
    "//",
)

SIGN_OUT = ("POST", "/backchannel-logout")
"""Its success must not be cached either (OpenID Connect Back-Channel Logout 1.0, section 2.8)."""


@pytest.fixture(scope="module")
def recording(database_url: str) -> Iterator[Recording]:
    """Send every request once; mallory has tasks, too."""
    app = build(database_url, RATE_LIMIT="off")
    limited = build(database_url, RATE_LIMIT="20/hour", MAX_TASKS_PER_USER="1", REQUIRE_IF_MATCH="true")
    recording = Recording(app)
    for _ in range(3):
        Person(app.test_client(), "mallory").add()
    with record_statements(app) as statements:
        _send_every_request(recording)
        recording.statements = statements.sent
    recording.other_responses += exceed_limits(olga(limited))
    recording.other_responses += sign_out(FlaskClient(app))
    for path in PAGES:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PROPFIND"):
            recording.other_responses.append(FlaskClient(app).open(path, method=method))
    yield recording
    for each in (app, limited):
        with each.app_context():
            db.engine.dispose()
    delete_all_rows(database_url)


def _send_every_request(recording: Recording) -> None:
    app = recording.app
    with app.app_context():
        pool: Any = db.engine.pool

    def add_endpoint(_sender: Any, **_: Any) -> None:
        recording.endpoints.add(request.endpoint)

    with request_started.connected_to(add_endpoint, app):
        for response in send_every_request(Person(app.test_client(), "olga")):
            _ = response.data  # reads a streamed response
            response.close()  # as a server does; otherwise a HEAD of an export counts as a response in progress
            recording.responses.append(response)
            if pool.checkedout() or has_app_context():
                recording.leaks.append(f"{response.request.method} {response.request.path}")


def test_every_endpoint_is_requested(recording: Recording):
    below_api = {rule.endpoint for rule in recording.app.url_map.iter_rules() if rule.rule.startswith("/api")}
    assert below_api <= recording.endpoints
    statuses = {response.status_code for response in recording.responses}
    assert {200, 201, 204, 304, 400, 401, 403, 404, 410, 412, 413, 415, 422} <= statuses
    assert not {status for status in statuses if status >= 500}


def test_every_statement_names_the_owner(recording: Recording):
    seen: set[tuple[str, str]] = set()
    for sql, parameters in recording.statements:
        for each in parameters if isinstance(parameters, list) else [parameters]:
            tables = find_owners(sql, each)
            assert tables or sql == "BEGIN IMMEDIATE", f"names no table: {sql}"
            for table, users in tables.items():
                seen.add((sql.split()[0], table))
                assert users, f"{table} without its owner: {sql}"
                assert set(users) == {"olga"}, f"{table} of {users}: {sql}"
    assert any("row_number" in sql for sql, _ in recording.statements), "no request renumbered positions"
    written_by_api = set(db.metadata.tables) - SIGN_OUT_TABLES
    all_kinds = {(verb, table) for verb in ("SELECT", "INSERT", "UPDATE", "DELETE") for table in written_by_api}
    # An upsert counts idempotency keys; only the purge recounts them. The purge also deletes erased users.
    only_in_purge = {("SELECT", "idempotency_usage"), ("UPDATE", "idempotency_usage"), ("DELETE", "users")}
    assert all_kinds - seen == only_in_purge


def test_a_request_leaves_no_connection_context_or_file_descriptor_open(recording: Recording):
    assert not recording.leaks
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _response in create_tasks(olga(recording.app)):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_every_failure_is_a_problem_document(recording: Recording):
    codes = set()
    for response in [*recording.responses, *recording.other_responses]:
        if response.status_code < 400:
            assert response.content_type != "application/problem+json"
            continue
        assert response.content_type == "application/problem+json", response.request.path
        if response.request.method == "HEAD":
            continue
        body = response.get_json()
        kind = CATALOGUE[body["code"]]
        codes.add(body["code"])
        optional = {"errors"} if body["code"] in ("bad-parameter", "invalid") else set()
        optional |= {"current"} if body["code"] == "precondition-failed" else set()
        optional |= {"errors"} if response.request.path.endswith(("/batch", "/import")) and "errors" in body else set()
        assert set(body) == {"type", "title", "status", "detail", "code", "request_id"} | optional
        assert isinstance(body["detail"], str)
        assert body["detail"]
        assert not re.match("`(errors|current)`", body["detail"]), "a client that shows `detail` only shows nothing"
        assert (body["type"], body["title"]) == (f"/problems/{kind.code}", kind.title)
        assert body["status"] == response.status_code == kind.status
        assert body["request_id"] == response.headers["X-Request-Id"]
        for violation in body.get("errors", []):
            assert set(violation) == {"pointer", "detail", "code"}
            assert all(isinstance(value, str) for value in violation.values())
        if "errors" in body:
            assert body["detail"] == describe(body["errors"], "Query" if response.status_code == 400 else "Body")
    # These need a broken database, two concurrent requests or 50,000 stored keys; they have separate tests.
    assert codes == set(CATALOGUE) - {"in-flight", "internal", "unavailable", "too-many-keys"}


def test_every_response_has_the_common_headers(recording: Recording):
    for response in [*recording.responses, *recording.other_responses]:
        where = f"{response.request.method} {response.request.path} {response.status_code}"
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"]), where
        assert response.headers["X-Content-Type-Options"] == "nosniff", where
        assert {"authorization", "origin"} <= {name.lower() for name in response.vary}, where
        cacheable = response.status_code < 400 and (response.request.method, response.request.path) != SIGN_OUT
        expected = "private, no-cache" if cacheable else "no-store"
        assert response.headers.getlist("Cache-Control") == [expected], where
        assert "Set-Cookie" not in response.headers, where
        assert "Server" not in response.headers, where


# Tables.

WITHOUT_OWNER = {"ix_ended_sessions_number"}
"""Indexes over all users: every worker reads the sign-outs of all users in order."""


@pytest.mark.parametrize("table", db.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_key_in_the_models_starts_with_the_owner(table: Any):
    keys = [table.primary_key, *(index for index in table.indexes if index.name not in WITHOUT_OWNER)]
    keys += [constraint for constraint in table.constraints if type(constraint).__name__ == "UniqueConstraint"]
    for key in keys:
        assert list(key.columns)[0].name == "user_id", f"{key} of {table}"  # noqa: RUF015  columns are not an iterator


def test_every_key_in_the_database_starts_with_the_owner(app: Flask):
    with app.app_context():
        inspector = inspect(db.engine)
        tables = set(inspector.get_table_names()) - {"alembic_version"}
        assert tables == {table.name for table in db.metadata.sorted_tables}
        for table in tables:
            keys = [inspector.get_pk_constraint(table)["constrained_columns"]]
            indexes = (index for index in inspector.get_indexes(table) if index["name"] not in WITHOUT_OWNER)
            keys += [index["column_names"] for index in indexes]
            keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
            assert keys
            assert all(key[0] == "user_id" for key in keys), f"{table}: {keys}"


def test_the_metrics_of_every_request_have_no_user_id_and_nothing_of_a_token(recording: Recording):
    assert recording.responses
    memory = SharedMemory(1)
    for number, value in enumerate(process.cells):
        memory.slots[0][number] = value
    memory.slots[0][metrics.WORKERS.first] = time.time()
    text = generate_latest(registry(memory, lambda: None)).decode()
    assert 'taskapi_problems_total{code="not-found"} 0' not in text
    assert 'taskapi_unauthorized_total{reason="session_ended"} 0' not in text
    assert not any(word in text for word in ("olga", "mallory", "somebody", "nobody", "of-last-year", "eyJ"))
