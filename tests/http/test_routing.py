"""What our Flask leaves out changes no answer: paths lead where Werkzeug's own search leads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request, url_for
from flask.signals import appcontext_tearing_down, request_tearing_down
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from taskapi.database.base import db
from taskapi.http.routing import MAX_CACHED_PATH, ROUTE_CACHE_SIZE, Application, unproxy
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


def led(app: Flask, path: str, method: str) -> Any:
    """Where a request is led, by our context and by Werkzeug's own search."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path.encode().decode("latin-1"), "wsgi.url_scheme": "http"}
    environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    with app.request_context(environ):
        ours = request.url_rule, request.view_args, getattr(request.routing_exception, "code", None)
    try:
        rule, found = Map.bind_to_environ(app.url_map, environ).match(return_rule=True)
    except HTTPException as error:
        return ours, (None, None, error.code)
    return ours, (rule, found, None)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30] or "nothing")
def test_a_path_leads_where_werkzeug_leads_it_the_first_time_and_again(app: Flask, path: str):
    for method in METHODS * 2:
        ours, theirs = led(app, path, method)
        assert ours == theirs, method


def test_what_a_view_does_with_its_arguments_is_not_remembered(alice: Person):
    """The hook takes the user out of them."""
    alice.add("One")
    assert [alice.get("/1").status_code for _ in range(3)] == [200] * 3


def test_as_many_paths_are_remembered_as_is_allowed_and_no_long_ones(app: Flask):
    routes: Any = app.url_map
    client = app.test_client()
    client.get(f"/api/{'x' * MAX_CACHED_PATH}/tasks")
    routes.find_cached.cache_clear()
    for number in range(ROUTE_CACHE_SIZE + 10):
        led(app, f"/api/{number}/tasks", "GET")
    assert routes.find_cached.cache_info().currsize == ROUTE_CACHE_SIZE
    led(app, f"/api/{'x' * MAX_CACHED_PATH}/tasks", "GET")
    assert routes.find_cached.cache_info().misses == ROUTE_CACHE_SIZE + 10


def test_two_applications_remember_each_their_own():
    first, second = Application("first"), Application("second")
    first.add_url_rule("/here", "here", lambda: "first")
    second.add_url_rule("/here", "here", lambda: "second")
    for _ in range(2):
        assert first.test_client().get("/here").text == "first"
        assert second.test_client().get("/here").text == "second"


@pytest.mark.parametrize(
    "host", ["localhost", "x:80", "", "a b", "\xe4\xf6", "[::1]:8000", "a" * 80, "mallory.example"]
)
def test_no_answer_depends_on_the_name_that_a_client_has_for_us(client: FlaskClient, host: str):
    answered = client.get("/healthz", headers={"Host": host})
    assert (answered.status_code, answered.get_json()) == (200, {"status": "ok"})


def test_below_a_prefix_addresses_have_it(alice: Person):
    sent: Any = {
        "headers": {"Authorization": f"Bearer {alice.token}"},
        "environ_overrides": {"SCRIPT_NAME": "/below"},
    }
    made = [alice.client.post("/api/alice/tasks", json={"title": "x"}, **sent) for _ in range(2)]
    assert made[1].headers["Location"] == "/below/api/alice/tasks/2"
    listed = alice.client.get("/api/alice/tasks?limit=1", **sent)
    assert listed.headers["Link"].startswith("</below/api/alice/tasks?limit=1&cursor=")


@pytest.mark.parametrize("path", ["/api/alice/tasks", "/api/alice/tasks/7", "/api/alice/tasks/7/complete", "/healthz"])
def test_who_asks_is_told_what_a_path_can_do(client: FlaskClient, path: str):
    rules = [rule for rule in client.application.url_map.iter_rules() if rule.rule == RULES.get(path, path)]
    expected = {method for rule in rules for method in rule.methods or ()}
    assert expected > {"OPTIONS"}
    for _ in range(2):
        client.get("/api/alice/tasks")  # whatever was asked before
        assert set(client.options(path).headers["Allow"].split(", ")) == expected


@pytest.mark.parametrize("signal", [request_tearing_down, appcontext_tearing_down])
def test_whoever_listens_is_told_that_a_request_is_over(client: FlaskClient, signal: Any):
    told: list[object] = []
    client.get("/healthz")
    with signal.connected_to(lambda sender, **_: told.append(sender)):
        client.get("/healthz")
    client.get("/healthz")
    assert told == [client.application]


def test_whoever_registers_is_told_that_a_request_is_over(make_app: Callable[..., Flask]):
    app, told = make_app(), []
    app.teardown_request(lambda error: told.append(("request", error)))
    app.teardown_appcontext(lambda error: told.append(("context", error)))
    app.test_client().get("/healthz")
    assert told == [("request", None), ("context", None)]


def test_nobody_opens_a_session_of_the_orm(app: Flask):
    """None would be closed after a request."""
    assert "session" not in vars(db)
    assert not app.teardown_appcontext_funcs


def test_what_stands_behind_a_proxy_is_found_anew_for_each_request(app: Flask):
    seen = []
    for path in ("/a", "/b"):
        with app.test_request_context(path):
            assert type(unproxy(request)) is app.request_class
            seen.append(unproxy(request).path)
    assert seen == ["/a", "/b"]
    with pytest.raises(RuntimeError, match="request context"):
        unproxy(request)


def test_outside_of_a_request_there_are_no_addresses(make_app: Callable[..., Flask]):
    with make_app().app_context(), pytest.raises(RuntimeError, match="SERVER_NAME"):
        url_for("tasks.index", user_id="alice")
