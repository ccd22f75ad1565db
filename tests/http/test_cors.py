"""CORS headers: allowed origins, methods and headers, and exposed headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.http import errors
from taskapi.http.cors import ALLOW_HEADERS, EXPOSE_HEADERS
from tests.conftest import Person, build, delete_all_rows, migrate
from tests.every_request import API, at
from tests.gunicorn_server import ROOT

APP = "https://app.example.com"
ADMIN = "http://localhost:3000"
MOBILE = ("capacitor://localhost", "ionic://localhost", "tauri://localhost", "https://tauri.localhost")
"""Origins of pages in applications: Capacitor on iOS, Ionic, Tauri on macOS and on Windows."""
IPV6 = "http://[::1]:3000"
REQUEST_HEADERS = {
    *("authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "x-request-id"),
    *("traceparent", "tracestate", "baggage", "sentry-trace"),
}
RESPONSE_HEADERS = {
    *("etag", "link", "location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "x-total-count"),
    *("idempotency-replayed", "www-authenticate"),
}
"""Response headers that docs/api.md names."""


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: nothing here depends on the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    return url


def words(response: TestResponse, name: str) -> set[str]:
    return {word.strip().lower() for word in response.headers.get(name, "").split(",") if word.strip()}


def cors(response: TestResponse) -> set[str]:
    return {name for name, _ in response.headers if name.lower().startswith("access-control-")}


def preflight(client: FlaskClient, path: str, origin: str, method: str, headers: str = "authorization") -> TestResponse:
    return client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


SETTINGS = {
    "CORS_ORIGINS": ", ".join((APP, ADMIN, IPV6, *MOBILE)),
    "MAX_TASKS_PER_USER": "2",
    "RATE_LIMIT": "30/minute",
}


@pytest.fixture(scope="module")
def lasting(database_url: str) -> Iterator[Flask]:
    """One application for all tests of this module."""
    app = build(database_url, **{**SETTINGS, "RATE_LIMIT": "off"})
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(lasting: Flask, database_url: str) -> Iterator[Flask]:
    yield lasting
    delete_all_rows(database_url)


@pytest.mark.parametrize("origin", [APP, ADMIN])
@pytest.mark.parametrize(("method", "path"), API, ids=str)
def test_a_preflight_of_every_method_is_allowed_without_a_token(
    client: FlaskClient, method: str, path: str, origin: str
):
    response = preflight(client, at(path, "alice"), origin, method, ", ".join(sorted(REQUEST_HEADERS)))

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert method.lower() in words(response, "Access-Control-Allow-Methods")
    assert words(response, "Access-Control-Allow-Headers") == REQUEST_HEADERS
    assert response.headers["Access-Control-Max-Age"] == "7200"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("origin", [IPV6, *MOBILE])
def test_origins_of_applications_and_ipv6_addresses_are_allowed(client: FlaskClient, alice: Person, origin: str):
    response = preflight(client, "/api/alice/tasks", origin, "POST")
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert alice.get(headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("header", sorted(REQUEST_HEADERS))
def test_each_request_header_of_the_api_is_allowed(client: FlaskClient, header: str):
    response = preflight(client, "/api/alice/tasks", APP, "GET", header)
    assert words(response, "Access-Control-Allow-Headers") == {header}


def test_the_documentation_names_all_request_and_response_headers():
    section = (ROOT / "docs/api.md").read_text().partition("## Pages of another origin\n")[2].partition("\n## ")[0]
    sent, read = section.split("\n- ")[1:]
    assert re.findall(r"`([\w-]+)`", sent) == ALLOW_HEADERS
    assert re.findall(r"`([\w-]+)`", read) == EXPOSE_HEADERS


def test_other_request_headers_are_not_allowed(client: FlaskClient):
    response = preflight(client, "/api/alice/tasks", APP, "GET", "authorization, x-forwarded-for, cookie")
    assert words(response, "Access-Control-Allow-Headers") == {"authorization"}


def answers(alice: Person) -> dict[int, TestResponse]:
    """Return a response of each status to requests from the configured origin."""
    headers = {"Origin": APP}
    alice.add()
    sent = [
        alice.get(headers=headers),
        alice.post(json={"title": "x"}, headers=headers),
        alice.get("/1", headers={**headers, "If-None-Match": '"1"'}),
        alice.get("?colour=red", headers=headers),
        alice.client.get("/api/alice/tasks", headers=headers),
        alice.get(of="mallory", headers=headers),
        alice.get("/99", headers=headers),
        alice.client.put("/api/alice/tasks", headers=headers),
        alice.put("/1", json={}, headers={**headers, "If-Match": '"99"'}),
        alice.post(data=b"x" * 70_000, content_type="application/json", headers=headers),
        alice.post(data=b"x", content_type="text/plain", headers=headers),
        alice.post(json={}, headers=headers),
        alice.post(json={"title": "x"}, headers=headers),
        alice.data("GET", "/changes?since=00000000.x", headers=headers),
        alice.delete("/1", headers=headers),
    ]
    sent += [alice.get(headers=headers) for _ in range(40)]
    return {response.status_code: response for response in sent}


def test_every_status_can_be_read_by_the_configured_origin(make_app: Callable[..., Flask]):
    by_status = answers(Person(make_app(**SETTINGS).test_client(), "alice"))
    assert set(by_status) == {200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 429}
    for status, response in by_status.items():
        assert response.headers.getlist("Access-Control-Allow-Origin") == [APP], status
        assert words(response, "Access-Control-Expose-Headers") >= RESPONSE_HEADERS, status
        assert "Access-Control-Allow-Credentials" not in response.headers, status
        assert "Origin" in response.headers["Vary"], status


@pytest.mark.parametrize("failure", [errors.ServiceUnavailable("x"), LookupError("x")], ids=["503", "500"])
def test_a_failing_server_can_be_read_by_the_configured_origin(make_app: Callable[..., Flask], failure: Exception):
    app = make_app(**SETTINGS)

    @app.get("/fail")
    def fail() -> str:
        raise failure

    response = FlaskClient(app).get("/fail", headers={"Origin": APP})
    assert response.status_code >= 500
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert words(response, "Access-Control-Expose-Headers") >= RESPONSE_HEADERS


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("https://evil.example", id="another"),
        pytest.param("null", id="null"),
        pytest.param("http://app.example.com", id="another-scheme"),
        pytest.param("https://app.example.com:8443", id="another-port"),
        pytest.param("https://app.example.com.evil.example", id="suffixed"),
        pytest.param("https://evil-app.example.com", id="prefixed"),
        pytest.param("https://appXexample.com", id="a-dot-is-no-pattern"),
        pytest.param("https://app.example.com/", id="slash"),
        pytest.param("http://1:3000", id="brackets-are-no-pattern"),
        pytest.param("http://[::1]:3001", id="another-port-of-an-ipv6-address"),
        pytest.param("capacitor://evil", id="another-host-of-an-application"),
        pytest.param("http://localhost", id="a-host-of-another-scheme"),
        pytest.param("*", id="star"),
        pytest.param("", id="empty"),
    ],
)
def test_another_origin_gets_no_cors_headers(client: FlaskClient, alice: Person, origin: str):
    assert not cors(preflight(client, "/api/alice/tasks", origin, "POST"))
    assert not cors(alice.get(headers={"Origin": origin}))
    assert not cors(client.get("/api/alice/tasks", headers={"Origin": origin}))


def test_a_request_without_origin_gets_no_cors_headers(alice: Person):
    assert not cors(alice.get())


def test_without_configured_origins_there_are_no_cors_headers(make_app: Callable[..., Flask]):
    client = make_app().test_client()
    assert not cors(preflight(client, "/api/alice/tasks", APP, "POST"))
    for origin in (APP, "null", "*"):
        assert not cors(Person(client, "alice").get(headers={"Origin": origin}))


def test_options_without_preflight_headers_needs_no_token_either(client: FlaskClient):
    response = client.options("/api/alice/tasks")
    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
