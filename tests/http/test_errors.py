"""Error responses: every failure is a problem document, and an unexpected exception shows no details."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from werkzeug import exceptions

from taskapi.auth.tokens import User
from taskapi.database.base import db, now
from taskapi.database.failures import DatabaseUnavailable
from taskapi.database.transactions import execute, writes
from taskapi.http.errors import CATALOGUE, Forbidden, InternalError, InvalidInput, NotFound, Problem, ValidationFailed
from taskapi.tasks import queries
from taskapi.tasks.models import Task
from taskapi.tasks.statements.rows import new_row
from tests.conftest import Person, build

ID = {"X-Request-Id": "story-1"}


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Flask]:
    """An application on an empty database without tables, to which a test can add routes that fail."""
    app = build(f"sqlite:///{tmp_path}/empty.db")
    app.test_client_class = FlaskClient  # the OpenAPI document does not describe the routes below
    yield app
    with app.app_context():
        db.engine.dispose()


def failing(app: Flask, failure: Exception) -> FlaskClient:
    def fail() -> str:
        raise failure

    app.add_url_rule("/fail", view_func=fail)
    return app.test_client()


def problem(code: str, detail: str, **members: Any) -> dict[str, Any]:
    kind = CATALOGUE[code]
    base = {"type": f"/problems/{code}", "title": kind.title, "status": kind.status, "detail": detail, "code": code}
    return {**base, "request_id": "story-1", **members}


def test_the_catalogue_has_every_problem_type_once():
    kinds = {*Problem.__subclasses__(), *InvalidInput.__subclasses__()} - {InvalidInput}
    assert set(CATALOGUE.values()) == kinds
    assert len(CATALOGUE) == len(kinds)
    for code, kind in CATALOGUE.items():
        assert kind.code == code
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.remedy


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.code)
def test_a_problem_is_responded_as_problem_json(plain: Flask, kind: type[Problem]):
    response = failing(plain, kind("What happened.", headers={"X-More": "1"}, extra=[1])).get("/fail", headers=ID)

    assert response.status_code == kind.status
    assert response.content_type == "application/problem+json"
    assert response.headers["X-More"] == "1"
    assert response.get_json() == problem(kind.code, "What happened.", extra=[1])


def test_problems_do_not_share_a_default_headers_dictionary():
    first, second = NotFound("x"), NotFound("y")
    first.headers["X-Only"] = "first"
    assert second.headers == {}
    assert Forbidden("x").headers == {}


@pytest.mark.parametrize(
    ("failure", "code", "detail"),
    [
        pytest.param(exceptions.BadRequest("s3cret"), "bad-request", "The request cannot be understood.", id="400"),
        pytest.param(exceptions.ImATeapot("s3cret"), "bad-request", "The request cannot be understood.", id="418"),
        pytest.param(
            exceptions.NotFound("s3cret"),
            "not-found",
            "Nothing is served at this address; /openapi.json lists what is.",
            id="404",
        ),
        pytest.param(
            exceptions.MethodNotAllowed(["PUT", "GET"], "s3cret"),
            "method-not-allowed",
            "Use one of: GET, PUT.",
            id="405",
        ),
        pytest.param(
            exceptions.RequestEntityTooLarge("s3cret"),
            "too-large",
            "The body is larger than this service accepts.",
            id="413",
        ),
        pytest.param(
            exceptions.InternalServerError("s3cret"),
            "internal",
            "Something failed on our side. Quote the request_id when you report it.",
            id="500",
        ),
        pytest.param(
            exceptions.BadGateway("s3cret"),
            "internal",
            "Something failed on our side. Quote the request_id when you report it.",
            id="502",
        ),
        pytest.param(
            DatabaseUnavailable("s3cret"),
            "unavailable",
            "The database cannot be reached. Nothing was changed; try again shortly.",
            id="database-certain",
        ),
        pytest.param(
            DatabaseUnavailable("s3cret", uncertain=True),
            "unavailable",
            "The database was lost while the change was being saved. Read the task again before you repeat it.",
            id="database-uncertain",
        ),
        pytest.param(
            ZeroDivisionError("s3cret"),
            "internal",
            "Something failed on our side. Quote the request_id when you report it.",
            id="unexpected",
        ),
    ],
)
def test_any_exception_becomes_a_problem_without_its_message(plain: Flask, failure: Exception, code: str, detail: str):
    response = failing(plain, failure).get("/fail", headers=ID)

    assert response.status_code == CATALOGUE[code].status
    assert response.get_json() == problem(code, detail)
    assert response.headers["Cache-Control"] == "no-store"
    assert b"s3cret" not in response.data
    assert ("Retry-After" in response.headers) == (response.status_code == 503)


def test_every_http_exception_of_werkzeug_becomes_a_problem(plain: Flask):
    @plain.get("/abort/<int:code>")
    def view(code: int) -> str:
        abort(code)

    client = plain.test_client()
    for code in exceptions.default_exceptions:
        response = client.get(f"/abort/{code}", headers=ID)
        body = response.get_json()
        assert response.content_type == "application/problem+json", code
        assert body["status"] == response.status_code == CATALOGUE[body["code"]].status, code
        assert (response.status_code >= 500) == (code >= 500), code


def test_an_unexpected_exception_is_logged_with_the_request_id_and_not_in_the_response(
    plain: Flask, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR, logger="taskapi"):
        response = failing(plain, LookupError("in table s3cret")).get("/fail", headers=ID)

    assert response.status_code == 500
    assert response.get_json() == problem(
        "internal", "Something failed on our side. Quote the request_id when you report it."
    )
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    first, *trace_lines, last = record.getMessage().splitlines()
    assert first == "unhandled LookupError in request story-1"
    assert "raise failure" in "".join(trace_lines)
    assert last == "builtins.LookupError"
    for trace in (b"LookupError", b"s3cret", b"Traceback", b"File "):
        assert trace not in response.data


def test_a_missing_table_is_500_without_details(plain: Flask):
    """A general handler for database errors once returned 503 here, and clients retried in vain."""
    response = Person(plain.test_client(), "alice").get(headers=ID)

    assert response.status_code == 500
    assert response.get_json()["code"] == "internal"
    for trace in (b"users", b"sqlite", b"SELECT", b"no such table"):
        assert trace not in response.data


MARKER = "c4n4ry"


def _raise_while_handling() -> None:
    try:
        int(MARKER)
    except ValueError:
        {}[MARKER]


QUOTES_CONTENT: dict[str, Callable[[], object]] = {
    "a key in its message": lambda: {}[MARKER],
    "a text that is parsed": lambda: int(MARKER),
    "an exception that was raised while another was handled": _raise_while_handling,
}


@pytest.mark.parametrize("fail", QUOTES_CONTENT.values(), ids=QUOTES_CONTENT)
def test_the_logged_stack_trace_has_types_and_lines_but_no_message(
    plain: Flask, caplog: pytest.LogCaptureFixture, fail: Callable[[], object]
):
    plain.add_url_rule("/fail", view_func=fail)
    with caplog.at_level(logging.DEBUG):
        assert plain.test_client().get("/fail").status_code == 500
    assert MARKER not in caplog.text
    assert "Error" in caplog.text
    assert "test_errors.py" in caplog.text


@pytest.mark.parametrize("columns", [{"id": 1}, {"id": 2, "completed": None}], ids=["violated key", "rejected row"])
def test_no_database_error_logs_the_content_of_a_row(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any]
):
    """The message of PostgreSQL contains the violated key or the rejected row, and that of SQLAlchemy the values."""
    person = Person(app.test_client(), MARKER)
    person.add()

    @writes
    def violate(user: User, *_: Any) -> None:
        execute(insert(Task), {**new_row(user, 1, 1, now(), {"title": MARKER}), **columns})

    with app.app_context(), pytest.raises(IntegrityError) as failure:
        violate(User(MARKER))
    assert MARKER not in str(failure.value), "a command such as flask purge would print it"
    monkeypatch.setattr(queries, "add", violate)
    with caplog.at_level(logging.DEBUG):
        assert person.post(json={"title": MARKER}).status_code == 500
    assert "IntegrityError" in caplog.text
    assert MARKER not in caplog.text


def test_an_unavailable_database_is_logged_with_its_reason(plain: Flask, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR, logger="taskapi"):
        failing(plain, DatabaseUnavailable("connection refused")).get("/fail", headers=ID)
    assert [record.getMessage() for record in caplog.records] == ["database unavailable: connection refused"]


def test_the_details_of_an_unavailable_database_are_not_logged(plain: Flask, caplog: pytest.LogCaptureFixture):
    reason = f"canceling statement due to statement timeout\nCONTEXT:  unnamed portal with parameters: $1 = '{MARKER}'"
    with caplog.at_level(logging.ERROR, logger="taskapi"):
        failing(plain, DatabaseUnavailable(reason)).get("/fail", headers=ID)
    assert caplog.messages == ["database unavailable: canceling statement due to statement timeout"]


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/api/alice/nothing", "/nothing", "/problems/nothing", "/%00", "/é"]
)
def test_an_unknown_path_is_404(client: FlaskClient, path: str):
    response = client.get(path, headers=ID)
    assert response.status_code == 404
    assert response.get_json() == problem(
        "not-found", "Nothing is served at this address; /openapi.json lists what is."
    )


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/alice/tasks", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/alice/tasks/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("GET", "/api/alice", "DELETE, OPTIONS"),
        ("GET", "/api/alice/import", "OPTIONS, POST"),
        ("GET", "/api/alice/tasks/1/complete", "OPTIONS, PATCH"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("PROPFIND", "/docs", "GET, HEAD, OPTIONS"),
    ],
)
def test_an_unknown_method_is_405_with_allow(client: FlaskClient, method: str, path: str, allow: str):
    response = client.open(path, method=method, headers=ID)
    assert response.status_code == 405
    assert response.headers["Allow"] == allow
    assert response.get_json() == problem("method-not-allowed", f"Use one of: {allow}.")


def test_a_body_that_is_too_large_is_413(alice: Person):
    response = alice.post(data=b" " * (64 * 1024 + 1), content_type="application/json", headers=ID)
    assert response.status_code == 413
    assert response.get_json() == problem("too-large", "Send at most 65536 bytes.")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"content_type": "text/plain"}, id="text"),
        pytest.param({"content_type": "application/x-www-form-urlencoded"}, id="form"),
        pytest.param({}, id="none"),
    ],
)
def test_a_body_of_another_media_type_than_json_is_415(alice: Person, options: dict[str, str]):
    response = alice.post(data=b'{"title": "x"}', headers=ID, **options)
    assert response.status_code == 415
    assert response.get_json() == problem(
        "unsupported-media-type", "Send the body as `Content-Type: application/json`."
    )


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        pytest.param("POST", "/import", "`application/json` or `text/csv` or `text/calendar`", id="import"),
        pytest.param("PATCH", "/tasks/1", "`application/merge-patch+json` or `application/json`", id="patch"),
    ],
)
def test_the_detail_of_a_415_names_each_media_type_that_is_accepted(alice: Person, method: str, path: str, named: str):
    response = alice.data(method, path, data=b"title\nx\n", content_type="text/plain")
    assert response.status_code == 415
    assert response.get_json()["detail"] == f"Send the body as `Content-Type: {named[1:]}."


def test_a_compressed_body_is_415_with_accept_encoding(alice: Person):
    response = alice.post(data=b"{}", content_type="application/json", headers={**ID, "Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert response.headers["Accept-Encoding"] == "identity"
    assert response.get_json() == problem("unsupported-media-type", "Send the body uncompressed.")


def test_the_message_of_a_problem_is_its_detail():
    assert str(ValidationFailed("Send a JSON object.")) == "Send a JSON object."
    assert InternalError.status == Problem.status
