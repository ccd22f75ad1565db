"""The path prefix of a reverse proxy: `URL_PREFIX`, and `X-Forwarded-Prefix` of trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from gevent.lock import BoundedSemaphore
from werkzeug.test import Client

from taskapi.http import path_prefix
from taskapi.server.request_slots import limit_concurrency
from tests.config.test_path_prefixes import HOSTILE_PREFIXES
from tests.conftest import Person, token

Make = Callable[..., Flask]
PREFIX = "/tasks-api"


@pytest.fixture(scope="module")
def database_url(sqlite_database_url: str) -> str:
    """SQLite only: nothing here depends on the database."""
    return sqlite_database_url


def by_setting(make_app: Make) -> FlaskClient:
    return FlaskClient(make_app(URL_PREFIX=PREFIX, RATE_LIMIT="off"))


def by_header(make_app: Make) -> FlaskClient:
    client = FlaskClient(make_app(TRUSTED_PROXIES="1", RATE_LIMIT="off"))
    client.environ_base[path_prefix.HEADER] = PREFIX
    return client


@pytest.fixture(params=[by_setting, by_header], ids=["setting", "header"])
def client(request: pytest.FixtureRequest, make_app: Make) -> FlaskClient:
    """A client behind a proxy with a prefix; it is not a GuardedClient, which knows the paths without a prefix only."""
    made: FlaskClient = request.param(make_app)
    return made


@pytest.fixture(params=["", PREFIX], ids=["stripped", "not-stripped"])
def received(request: pytest.FixtureRequest) -> str:
    """What the service receives in front of its own paths: a proxy removes the prefix, or not."""
    return str(request.param)


def auth(user: str = "alice", **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user)}", **headers}


def test_location_and_link_have_the_prefix(client: FlaskClient, received: str):
    path = f"{received}/api/alice/tasks"
    for title in ("One", "Two"):
        created = client.post(path, json={"title": title}, headers=auth())
    assert created.status_code == 201
    assert created.headers["Location"] == f"{PREFIX}/api/alice/tasks/2"

    page = client.get(f"{path}?limit=1", headers=auth())
    assert re.fullmatch(rf'<{PREFIX}/api/alice/tasks\?limit=1&cursor=[^>]+>; rel="next"', page.headers["Link"])

    gone = client.get(f"{received}/api/alice/changes?since=0123abcd.old", headers=auth())
    assert gone.headers["Link"] == f'<{PREFIX}/api/alice/changes>; rel="start"'


def test_the_urls_of_problems_have_the_prefix(client: FlaskClient, received: str):
    refused = client.get(f"{received}/api/alice/tasks")
    assert (refused.status_code, refused.json["type"]) == (401, f"{PREFIX}/problems/unauthorized")
    absent = client.get(f"{received}/nowhere")
    assert (absent.status_code, absent.json["type"]) == (404, f"{PREFIX}/problems/not-found")
    assert absent.json["detail"] == f"Nothing is served at this address; {PREFIX}/openapi.json lists what is."

    page = client.get(f"{received}/problems/unauthorized")
    assert page.status_code == 200
    assert urls_of(page.text) == {f"{PREFIX}/docs", f"{PREFIX}/docs/static/problem.css"}


def urls_of(page: str) -> set[str]:
    """Return the URLs in the attributes of an HTML page, without the empty icon."""
    return set(re.findall(r'(?:href|src|data-url)="([^"]+)"', page)) - {"data:,"}


def test_the_docs_and_their_assets_have_the_prefix(client: FlaskClient, received: str):
    page = client.get(f"{received}/docs")
    assert page.status_code == 200
    urls = urls_of(page.text)
    assert urls == {
        f"{PREFIX}/openapi.json",
        f"{PREFIX}/docs/swagger/swagger-ui.css",
        f"{PREFIX}/docs/swagger/swagger-ui-bundle.js",
        f"{PREFIX}/docs/static/start.js",
    }
    for url in urls:
        with client.get(received + url.removeprefix(PREFIX)) as response:
            assert response.status_code == 200, url


def test_the_server_of_the_openapi_document_is_the_prefix(client: FlaskClient, received: str):
    document = client.get(f"{received}/openapi.json").json
    assert document["servers"] == [{"url": PREFIX}]
    assert "/api/{user_id}/tasks" in document["paths"]
    assert document["openapi"].startswith("3.1.")


def test_the_openapi_document_that_flask_openapi_prints_has_the_configured_prefix(make_app: Make):
    app = make_app(URL_PREFIX=PREFIX)
    printed = app.test_cli_runner().invoke(args=["openapi"])
    assert printed.output.encode().strip() == FlaskClient(app).get("/openapi.json").data


def test_health_checks_respond_with_and_without_the_prefix(client: FlaskClient, received: str):
    for path in ("/healthz", "/readyz"):
        assert client.get(received + path).json == {"status": "ok"}


def test_a_preflight_is_allowed_with_and_without_the_prefix(make_app: Make, received: str):
    client = FlaskClient(make_app(URL_PREFIX=PREFIX, CORS_ORIGINS="https://app.example.com"))
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    response = client.options(f"{received}/api/alice/tasks/1", headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]
    assert set(response.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}


def test_a_logout_token_is_accepted_with_and_without_the_prefix(client: FlaskClient, received: str):
    response = client.post(f"{received}/backchannel-logout", data={"logout_token": "x"})
    assert response.status_code == 400
    assert response.json["type"] == f"{PREFIX}/problems/bad-notice"


def test_a_replay_has_the_prefix_of_its_own_request(make_app: Make):
    client = FlaskClient(make_app(TRUSTED_PROXIES="1"))
    locations = [
        client.post(
            "/api/alice/tasks", json={"title": "Once"}, headers=auth(**{"Idempotency-Key": "1"}, **forwarded)
        ).headers["Location"]
        for forwarded in ({"X-Forwarded-Prefix": PREFIX}, {"X-Forwarded-Prefix": "/other"}, {})
    ]
    assert locations == [f"{PREFIX}/api/alice/tasks/1", "/other/api/alice/tasks/1", "/api/alice/tasks/1"]


@pytest.mark.parametrize("prefix", ["/api", "/docs", "/api/alice"])
def test_a_prefix_that_is_also_a_path_of_the_service_is_removed_only_in_front_of_another_path(
    make_app: Make, prefix: str
):
    client = FlaskClient(make_app(URL_PREFIX=prefix))
    for received in ("", prefix):
        response = client.post(f"{received}/api/alice/tasks", json={"title": "x"}, headers=auth())
        assert response.status_code == 201, received
        assert response.headers["Location"].startswith(f"{prefix}/api/alice/tasks/")
        assert client.get(f"{received}/docs").status_code == 200
        assert client.get(f"{received}/healthz").status_code == 200


@pytest.mark.parametrize(
    "path", [f"{PREFIX}x/api/alice/tasks", f"{PREFIX}", f"{PREFIX}//healthz", "/TASKS-API/healthz"]
)
def test_only_the_whole_prefix_is_removed(make_app: Make, path: str):
    assert by_setting(make_app).get(path, headers=auth()).status_code == 404


def location(client: FlaskClient, **headers: Any) -> str:
    created = client.post("/api/alice/tasks", json={"title": "x"}, headers=auth(), environ_overrides=headers)
    assert created.status_code == 201
    return created.headers["Location"].rpartition("/")[0]


def test_without_a_trusted_proxy_a_forwarded_prefix_is_ignored(make_app: Make):
    client = FlaskClient(make_app())
    assert location(client, **{path_prefix.HEADER: PREFIX}) == "/api/alice/tasks"
    assert client.get(f"{PREFIX}/healthz", headers={"X-Forwarded-Prefix": PREFIX}).status_code == 404


@pytest.mark.parametrize("value", HOSTILE_PREFIXES.values(), ids=HOSTILE_PREFIXES)
def test_an_invalid_forwarded_prefix_is_ignored(make_app: Make, value: str):
    client = FlaskClient(make_app(TRUSTED_PROXIES="1"))
    assert location(client, **{path_prefix.HEADER: value}) == "/api/alice/tasks"


@pytest.mark.parametrize(
    ("trusted_proxies", "header", "prefix"),
    [
        ("1", "/client, /proxy", "/proxy"),
        ("2", "/outer, /inner", "/outer/inner"),
        ("2", "/client,/outer/,/inner/", "/outer/inner"),
        ("2", "/only", "/only"),
        ("2", "/, /inner", "/inner"),
        ("2", "//evil.example, /inner", ""),
        ("2", ", /inner", "/inner"),
        ("1", "/", ""),
    ],
)
def test_the_prefix_is_what_the_trusted_proxies_have_removed_one_after_the_other(
    make_app: Make, trusted_proxies: str, header: str, prefix: str
):
    client = FlaskClient(make_app(TRUSTED_PROXIES=trusted_proxies))
    assert location(client, **{path_prefix.HEADER: header}) == f"{prefix}/api/alice/tasks"


def test_the_setting_takes_precedence_over_the_header(make_app: Make):
    client = FlaskClient(make_app(URL_PREFIX=PREFIX, TRUSTED_PROXIES="1"))
    assert location(client, **{path_prefix.HEADER: "/other"}) == f"{PREFIX}/api/alice/tasks"


def test_without_a_prefix_and_a_trusted_proxy_requests_pass_no_middleware(make_app: Make):
    assert "wsgi_app" not in vars(make_app())
    assert "wsgi_app" in vars(make_app(URL_PREFIX=PREFIX))


def test_a_user_of_another_path_is_refused_behind_a_prefix_too(client: FlaskClient, received: str):
    response = client.get(f"{received}/api/mallory/tasks", headers=auth("alice"))
    assert response.status_code == 403
    assert Person(client, "mallory").get().json == []


def test_the_liveness_probe_needs_no_slot_with_and_without_the_prefix(make_app: Make, received: str):
    app = make_app(URL_PREFIX=PREFIX)
    without_slots = path_prefix.in_front_of(limit_concurrency(app, BoundedSemaphore(0)), app)
    assert Client(without_slots).get(f"{received}/healthz").json == {"status": "ok"}


def test_an_application_without_a_prefix_is_not_wrapped(app: Flask) -> None:
    def other(_environ: Any, _start_response: Any) -> list[bytes]:
        return []

    assert path_prefix.in_front_of(other, app) is other
    assert path_prefix.in_front_of(other, other) is other, "the worker serves any WSGI application"
