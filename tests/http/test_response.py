"""Headers that every response has, and responses compared with those of stock Werkzeug."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

from taskapi.http.response import json_response, no_content, not_modified
from tests.conftest import Person


@pytest.mark.parametrize(
    ("path", "status", "cache_control"),
    [
        ("/healthz", 200, "private, no-cache"),
        ("/openapi.json", 200, "private, no-cache"),
        ("/docs", 200, "private, no-cache"),
        ("/api/alice/tasks", 401, "no-store"),
        ("/nothing", 404, "no-store"),
    ],
)
def test_responses_are_private_and_errors_are_not_stored(
    client: FlaskClient, path: str, status: int, cache_control: str
):
    response = client.get(path)
    assert response.status_code == status
    assert response.headers.getlist("Cache-Control") == [cache_control]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_vary_names_the_token_and_the_origin_once(alice: Person):
    response = alice.get(headers={"Origin": "https://app.example.com"})
    assert sorted(response.headers.getlist("Vary")) == ["Authorization, Origin"]


def test_a_304_has_the_headers_of_the_200(alice: Person):
    full = alice.get()
    again = alice.get(headers={"If-None-Match": full.headers["ETag"]})

    assert again.status_code == 304
    assert again.data == b""
    assert "Content-Type" not in again.headers
    for name in ("ETag", "Cache-Control", "Vary", "X-Content-Type-Options"):
        assert again.headers[name] == full.headers[name]
    assert "X-Request-Id" in again.headers


def test_a_204_has_no_content_and_no_content_type(alice: Person):
    response = alice.delete(f"/{alice.add()['id']}")
    assert response.status_code == 204
    assert response.data == b""
    assert "Content-Type" not in response.headers
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_head_has_the_headers_of_get_and_no_body(alice: Person):
    alice.add()
    for path in ("", "/1"):
        get, head = (alice.send(method, path, headers={"X-Request-Id": "same"}) for method in ("GET", "HEAD"))
        assert head.data == b""
        assert head.status_code == get.status_code
        assert sorted(head.headers.items()) == sorted(get.headers.items())


def test_json_is_utf_8_without_escapes(app: Flask):
    with app.test_request_context():
        response = json_response({"title": "Café タスク"}, 201, etag='"3"', headers={"Location": "/x"})
    assert response.data == '{"title":"Café タスク"}'.encode()
    assert response.status_code == 201
    assert response.content_type == "application/json"
    assert (response.headers["ETag"], response.headers["Location"]) == ('"3"', "/x")


def test_responses_without_a_version_have_no_etag():
    assert "ETag" not in json_response([]).headers
    assert not_modified('"7"').headers["ETag"] == '"7"'
    assert "ETag" not in no_content().headers


def test_a_view_can_set_cache_control(client: FlaskClient):
    response = client.get("/docs/swagger/swagger-ui.css")
    assert "max-age=86400" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    response.close()


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("Vary", "Accept", "Accept, Authorization, Origin"),
        ("vary", "origin", "origin, Authorization"),
        ("cache-control", "max-age=5", "max-age=5"),
    ],
)
def test_cache_headers_of_a_view_are_kept_and_vary_is_completed(app: Flask, header: str, value: str, expected: str):
    with app.test_request_context():
        response = app.process_response(Response(headers=[(header, value)]))
    assert response.headers.getlist(header) == [expected]
    assert len(response.headers.getlist("Vary")) == len(response.headers.getlist("Cache-Control")) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: json_response({"title": "Café"}, etag='"3"'),
        lambda: json_response(
            [], 201, headers={"Location": "/api/%C3%A9%2F%5B%3F/tasks/1", "Link": "</x?a=%26>; rel=x"}
        ),
        lambda: not_modified('"7"'),
        no_content,
    ],
    ids=["200", "201", "304", "204"],
)
def test_headers_are_those_that_werkzeug_sends(app: Flask, make: Callable[[], Response], method: str):
    with app.test_request_context(method=method):
        response = app.process_response(make())
        sent = response.get_wsgi_headers(request.environ)
        assert sent.to_wsgi_list() == Response.get_wsgi_headers(response, request.environ).to_wsgi_list()


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nB: c", "a\rB: c"])
def test_a_newline_in_a_header_value_is_an_error(app: Flask, value: str):
    with app.test_request_context(), pytest.raises(ValueError, match="newline"):
        json_response({}, headers={"X-A": value})
    with app.test_request_context(), pytest.raises(ValueError, match="newline"):
        not_modified(value)


def test_fast_headers_equal_werkzeug_s_headers(app: Flask):
    with app.test_request_context():
        made = json_response({}, 201, etag='"1"', headers={"Location": "/x"}).headers
        assert list(made) == [
            *(("Location", "/x"), ("Content-Type", "application/json"), ("Content-Length", "2"), ("ETag", '"1"'))
        ]
        assert ("content-type" in made, "Vary" in made) == (True, False)
        made.extend({"A": ["b", "c"]}, d="e")
        made.extend([("F", "g")])
        made["Location"] = "/y"
        assert made.to_wsgi_list()[-4:] == [("A", "b"), ("A", "c"), ("d", "e"), ("F", "g")]
        assert made.getlist("location") == ["/y"]
