"""No request makes the service read more of a body than its view accepts, whatever the method and path."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskapi.http.request import MAX_BODY_BYTES
from taskapi.tasks.blueprints import MAX_BULK_BODY_BYTES
from taskapi.tasks.transfer.routes import MAX_IMPORT_BODY_BYTES
from tests.conftest import Person, token
from tests.endless import EndlessBody

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
LARGE = {"/api/alice/tasks/batch": MAX_BULK_BODY_BYTES, "/api/alice/import": MAX_IMPORT_BODY_BYTES}


def paths(app: Flask) -> Iterator[str]:
    """Yield a path of each route, and an unknown one."""
    for rule in app.url_map.iter_rules():
        values = {"user_id": "alice", "id": "1", "code": "too-large", "filename": "problem.css", "name": "problem.css"}
        with app.test_request_context():
            built = rule.build({name: values.get(name, "x") for name in rule.arguments}, append_unknown=False)
        assert built is not None, rule
        yield built[1]
    yield "/nowhere"


@pytest.mark.parametrize("method", METHODS)
def test_no_route_reads_more_of_a_body_than_its_limit(app: Flask, client: FlaskClient, method: str) -> None:
    read = {}
    for path in paths(app):
        for key in (None, "k"):
            body = EndlessBody(2 * MAX_IMPORT_BODY_BYTES)
            headers = {"Authorization": f"Bearer {token('alice')}", "Content-Type": "application/json"}
            if key:
                headers["Idempotency-Key"] = key
            # Closed as a server does it: the response of a static file holds an open file.
            client.open(path, method=method, headers=headers, environ_overrides=body.environ(), buffered=True).close()
            read[path] = max(body.count, read.get(path, 0))
    bounds = {path: LARGE.get(path, MAX_BODY_BYTES) if method == "POST" else MAX_BODY_BYTES for path in read}
    assert {path: count for path, count in read.items() if count > bounds[path] + 1} == {}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["without-key", "with-key"])
def test_a_large_body_of_a_delete_is_413_and_deletes_nothing(alice: Person, headers: dict[str, str]) -> None:
    alice.add()
    for environ in (EndlessBody().environ(), EndlessBody().environ(CONTENT_LENGTH="9999999999")):
        refused = alice.delete("/1", headers=headers, environ_overrides=environ)
        assert (refused.status_code, refused.get_json()["code"]) == (413, "too-large")
        assert alice.data("DELETE", environ_overrides=environ).status_code == 413
    assert alice.get("/1").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("PUT", "/1"), ("PATCH", "/1"), ("DELETE", "/1"), ("PATCH", "/1/complete"), ("POST", "/batch")],
)
def test_a_chunked_body_that_the_server_does_not_decode_is_411_and_changes_nothing(
    alice: Person, method: str, path: str
) -> None:
    """uWSGI does not set `wsgi.input_terminated`; Werkzeug reads the body as empty, and that toggles a task."""
    before = alice.add()
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b'11\r\n{"completed":true}\r\n0\r\n\r\n')}
    refused = alice.send(method, path, content_type="application/json", environ_overrides=environ)
    assert (refused.status_code, refused.get_json()["code"]) == (411, "length-required")
    assert alice.get("/1").get_json() == before


def test_a_delete_may_have_a_small_body_of_any_type(alice: Person) -> None:
    alice.add()
    assert alice.delete("/1", data="{}", content_type="text/plain").status_code == 204


def test_a_body_of_the_wrong_type_is_refused_without_reading_it(alice: Person) -> None:
    body = EndlessBody()
    refused = alice.post(content_type="text/plain", environ_overrides=body.environ(CONTENT_LENGTH="1000"))
    assert (refused.status_code, body.count) == (415, 0)
