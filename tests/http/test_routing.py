"""The Flask subclass works as stock Flask does: URL matching, URL building, reading bodies, OPTIONS, teardown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Request, request, url_for
from flask.signals import appcontext_tearing_down, request_tearing_down
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from taskapi.database.base import db
from taskapi.http.routing import (
    MAX_CACHED_PATH,
    MAX_SHORT_BODY,
    ROUTE_CACHE_SIZE,
    Application,
    current_request,
    short_length,
)
from tests.conftest import Person

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PATHS = (
    *("/api/alice/tasks", "/api/alice/tasks/", "/api/alice/tasks/7", "/api/alice/tasks/7/complete", "/api/alice"),
    *(
        "/api/a%20b/tasks",
        "/api/ä/tasks",
        "/api//tasks",
        "//api/alice/tasks",
        "/api/alice//tasks",
        "/api/alice/tasks/batch",
    ),
    *("/healthz", "/healthz/", "/docs", "/docs/", "/docs/static/start.js", "/problems/gone", "/nowhere", "/", ""),
    *(f"/api/{'x' * MAX_CACHED_PATH}/tasks", f"/api/alice/{'x' * MAX_CACHED_PATH}"),
)

RULES = {
    "/api/alice/tasks": "/api/<user_id>/tasks",
    "/api/alice/tasks/7": "/api/<user_id>/tasks/<task:id>",
    "/api/alice/tasks/7/complete": "/api/<user_id>/tasks/<task:id>/complete",
}


def match(app: Flask, path: str, method: str) -> Any:
    """Return (rule, view_args, error) of a request by our request context and by Werkzeug's own matching."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path.encode().decode("latin-1"), "wsgi.url_scheme": "http"}
    environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    with app.request_context(environ):
        ours = request.url_rule, request.view_args, getattr(request.routing_exception, "code", None)
    try:
        rule, found = Map.bind_to_environ(app.url_map, environ).match(return_rule=True)
    except HTTPException as error:
        return ours, (None, None, error.code)
    return ours, (rule, found, None)


class Pieces:
    """A `wsgi.input` whose `read` returns a byte less than it is asked for, as a server may."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def read(self, size: int = -1) -> bytes:
        piece, self.body = self.body[: max(1, size - 1)], self.body[max(1, size - 1) :]
        return piece


@pytest.mark.parametrize("length", [0, 1, 2, 1000, MAX_SHORT_BODY, MAX_SHORT_BODY + 1])
def test_a_body_is_what_werkzeug_reads(app: Flask, length: int):
    sent = b"x" * length

    def read(request_class: type[Request]) -> bytes:
        made = request_class({"CONTENT_LENGTH": str(length), "wsgi.input": Pieces(sent + b"next request")})
        body: bytes = made.get_data()
        assert made.get_data() == body, "read once and kept"
        return body

    assert read(app.request_class) == read(Request) == sent


def test_a_form_is_parsed_after_its_body_was_read(app: Flask):
    body = b"logout_token=abc"
    environ = {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/x-www-form-urlencoded"}
    made = app.request_class({**environ, "REQUEST_METHOD": "POST", "wsgi.input": Pieces(body)})
    assert made.get_data() == made.get_data(as_text=True).encode() == body
    assert made.form["logout_token"] == "abc"


def test_a_body_that_ends_early_is_returned_as_far_as_it_came(app: Flask):
    assert app.request_class({"CONTENT_LENGTH": "5", "wsgi.input": Pieces(b"abc")}).get_data() == b"abc"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "٣"},
        {"CONTENT_LENGTH": "+3"},
        {"CONTENT_LENGTH": "0", "HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_LENGTH": str(MAX_SHORT_BODY + 1)},
        {"CONTENT_LENGTH": "9" * 5000},
    ],
)
def test_a_body_of_unknown_or_greater_length_is_left_to_werkzeug(environ: dict[str, str]):
    assert short_length(environ) is None


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30] or "empty")
def test_cached_url_matching_equals_werkzeug_s(app: Flask, path: str):
    for method in METHODS * 2:
        ours, theirs = match(app, path, method)
        assert ours == theirs, method


def test_changes_to_view_args_do_not_reach_the_route_cache(alice: Person):
    """The guard removes `user_id` from view_args."""
    alice.add("One")
    assert [alice.get("/1").status_code for _ in range(3)] == [200] * 3


def test_the_route_cache_is_bounded_and_has_no_long_paths(app: Flask):
    routes: Any = app.url_map
    client = app.test_client()
    client.get(f"/api/{'x' * MAX_CACHED_PATH}/tasks")
    routes.find_cached.cache_clear()
    for number in range(ROUTE_CACHE_SIZE + 10):
        match(app, f"/api/{number}/tasks", "GET")
    assert routes.find_cached.cache_info().currsize == ROUTE_CACHE_SIZE
    match(app, f"/api/{'x' * MAX_CACHED_PATH}/tasks", "GET")
    assert routes.find_cached.cache_info().misses == ROUTE_CACHE_SIZE + 10


def test_each_application_has_its_own_route_cache():
    first, second = Application("first"), Application("second")
    first.add_url_rule("/here", "here", lambda: "first")
    second.add_url_rule("/here", "here", lambda: "second")
    for _ in range(2):
        assert first.test_client().get("/here").text == "first"
        assert second.test_client().get("/here").text == "second"


@pytest.mark.parametrize(
    "host", ["localhost", "x:80", "", "a b", "\xe4\xf6", "[::1]:8000", "a" * 80, "mallory.example"]
)
def test_no_response_depends_on_the_host_header(client: FlaskClient, host: str):
    response = client.get("/healthz", headers={"Host": host})
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})


def test_urls_include_the_script_name(alice: Person):
    sent: Any = {
        "headers": {"Authorization": f"Bearer {alice.token}"},
        "environ_overrides": {"SCRIPT_NAME": "/below"},
    }
    made = [alice.client.post("/api/alice/tasks", json={"title": "x"}, **sent) for _ in range(2)]
    assert made[1].headers["Location"] == "/below/api/alice/tasks/2"
    listed = alice.client.get("/api/alice/tasks?limit=1", **sent)
    assert listed.headers["Link"].startswith("</below/api/alice/tasks?limit=1&cursor=")


@pytest.mark.parametrize("path", ["/api/alice/tasks", "/api/alice/tasks/7", "/api/alice/tasks/7/complete", "/healthz"])
def test_options_lists_the_methods_of_a_path(client: FlaskClient, path: str):
    rules = [rule for rule in client.application.url_map.iter_rules() if rule.rule == RULES.get(path, path)]
    expected = {method for rule in rules for method in rule.methods or ()}
    assert expected > {"OPTIONS"}
    for _ in range(2):
        client.get("/api/alice/tasks")  # fills the cache
        assert set(client.options(path).headers["Allow"].split(", ")) == expected


@pytest.mark.parametrize("signal", [request_tearing_down, appcontext_tearing_down])
def test_teardown_signals_are_sent(client: FlaskClient, signal: Any):
    calls: list[object] = []
    client.get("/healthz")
    with signal.connected_to(lambda sender, **_: calls.append(sender)):
        client.get("/healthz")
    client.get("/healthz")
    assert calls == [client.application]


def test_teardown_functions_are_called(make_app: Callable[..., Flask]):
    app, calls = make_app(), []
    app.teardown_request(lambda error: calls.append(("request", error)))
    app.teardown_appcontext(lambda error: calls.append(("context", error)))
    app.test_client().get("/healthz")
    assert calls == [("request", None), ("context", None)]


def test_there_is_no_orm_session_and_no_teardown_for_it(app: Flask):
    """An ORM session would not be closed after the request, since its teardown function is removed."""
    assert "session" not in vars(db)
    assert not app.teardown_appcontext_funcs


def test_current_request_is_the_request_of_the_context(app: Flask):
    seen = []
    for path in ("/a", "/b"):
        with app.test_request_context(path):
            assert type(current_request()) is app.request_class
            seen.append(current_request().path)
    assert seen == ["/a", "/b"]
    with pytest.raises(LookupError):
        current_request()


def test_url_for_outside_of_a_request_is_an_error(make_app: Callable[..., Flask]):
    with make_app().app_context(), pytest.raises(RuntimeError, match="SERVER_NAME"):
        url_for("tasks.index", user_id="alice")
