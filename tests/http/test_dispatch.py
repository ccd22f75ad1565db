"""`Application.full_dispatch_request` calls what Flask calls, in the same order, and returns the same response."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, after_this_request, g, request
from flask.signals import request_finished, request_started

from taskapi.http.routing import Application

Calls = list[object]


def make(kind: type[Flask], calls: Calls) -> Flask:
    """Return an application with nested blueprints whose hooks and views add to `calls`."""
    app = kind("app", static_folder=None)
    outer, inner = Blueprint("outer", "app", url_prefix="/outer"), Blueprint("inner", "app", url_prefix="/inner")
    for name, scaffold in {"app": app, "outer": outer, "inner": inner}.items():
        _add_hooks(name, scaffold, calls)
    inner.add_url_rule("/<kind>", "view", lambda kind: _respond(kind, calls), methods=["GET", "POST"])
    app.add_url_rule("/plain", "plain", lambda: Response("plain"))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_error_handler(ZeroDivisionError, lambda _: ("divided by zero", 418))
    return app


def _add_hooks(name: str, scaffold: Any, calls: Calls) -> None:
    """Register two hooks of each kind; one of the blueprint `inner` answers or fails on request."""

    def before(number: int) -> Any:
        calls.append(f"before {name} {number}")
        if name == "inner" and number == 1 and (wanted := request.args.get("before")):
            return _respond(wanted, calls)
        g.seen = number
        return None

    def after(number: int, response: Response) -> Response:
        calls.append(f"after {name} {number} {response.status_code}")
        if name == "inner" and request.args.get("after") == "raise":
            raise ValueError("in a hook")
        response.headers.add("X-After", f"{name} {number}")
        return response

    for number in (1, 2):
        scaffold.before_request(lambda number=number: before(number))
        scaffold.after_request(lambda response, number=number: after(number, response))
        scaffold.teardown_request(lambda error, number=number: calls.append(f"teardown {name} {number} {error!r}"))


def _respond(kind: str, calls: Calls) -> Any:
    """Return a value as views may, or raise."""
    calls.append(f"view {kind}")
    if kind == "later":

        @after_this_request
        def change(response: Response) -> Response:
            response.headers["X-Later"] = "yes"
            return response

    if kind == "abort":
        abort(409)
    if kind == "divide":
        return str(1 / 0)
    if kind == "raise":
        raise RuntimeError("in a view")
    return {"text": "text", "json": {"a": 1}, "tuple": ("created", 201, {"X-A": "b"}), "none": None}.get(
        kind, Response("response", 202)
    )


def outcome(kind: type[Flask], method: str, path: str, signals: tuple[Any, ...]) -> tuple[Calls, Any]:
    """Return the calls of two equal requests, and the last response; that of an exception is its class and text."""
    calls: Calls = []
    client = make(kind, calls).test_client()
    with ExitStack() as stack:
        for signal in signals:
            receiver = lambda sender, name=signal.name, **_: calls.append(f"signal {name}")  # noqa: E731
            stack.enter_context(signal.connected_to(receiver))
        for _ in range(2):
            response = client.open(path, method=method)
    return calls, (response.status, response.data, sorted(response.headers))


PATHS = {
    "plain": "/plain",
    "a response": "/outer/inner/response",
    "text": "/outer/inner/text",
    "JSON": "/outer/inner/json",
    "a tuple": "/outer/inner/tuple",
    "nothing": "/outer/inner/none",
    "an error of HTTP": "/outer/inner/abort",
    "an error with a handler": "/outer/inner/divide",
    "an error without a handler": "/outer/inner/raise",
    "a function after this request": "/outer/inner/later",
    "a hook that answers": "/outer/inner/text?before=tuple",
    "a hook that answers with a response": "/outer/inner/text?before=response",
    "a hook that raises": "/outer/inner/text?before=divide",
    "a hook that raises after the view": "/outer/inner/response?after=raise",
    "no such path": "/nowhere",
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("signals", [(), (request_started,), (request_finished,)], ids=["", "started", "finished"])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_request_is_dispatched_as_flask_does(path: str, method: str, signals: tuple[Any, ...]):
    assert outcome(Application, method, path, signals) == outcome(Flask, method, path, signals)


def test_the_comparison_sees_hooks_views_and_teardown():
    calls, response = outcome(Application, "GET", "/outer/inner/text", ())
    assert [str(call).split(" ")[0] for call in calls[:13]] == ["before"] * 6 + ["view"] + ["after"] * 6
    assert response[:2] == ("200 OK", b"text")


def test_a_value_preprocessor_is_an_error_and_is_not_skipped():
    app = make(Application, [])
    app.url_value_preprocessor(lambda _endpoint, _values: None)
    app.testing = True
    with pytest.raises(TypeError, match="url_value_preprocessor"):
        app.test_client().get("/plain")


def test_a_view_that_is_replaced_is_called():
    app = make(Application, [])
    app.test_client().get("/plain")
    app.view_functions["plain"] = lambda: Response("replaced")
    assert app.test_client().get("/plain").text == "replaced"
