"""The request id: that of the client if it is valid, otherwise a random one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Person, migrate

GENERATED = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: nothing here depends on the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    return url


@pytest.mark.parametrize("sent", ["a", "A-1_b.c", "0" * 128, "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "01J9Z3.retry-2"])
def test_a_valid_client_request_id_is_used(client: FlaskClient, sent: str):
    assert client.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("", id="empty"),
        pytest.param("0" * 129, id="long"),
        pytest.param("a b", id="space"),
        pytest.param("a\tb", id="tab"),
        pytest.param("<script>", id="markup"),
        pytest.param('"quoted"', id="quotes"),
        pytest.param("a,b", id="list"),
        pytest.param("a;b=c", id="semicolon"),
        pytest.param("caf\u00e9", id="latin-1"),
        pytest.param("\u0663", id="digit-of-another-script"),
        pytest.param("%0d%0aSet-Cookie:x", id="percent"),
        pytest.param("${jndi:ldap://x}", id="lookup"),
        pytest.param("a\x1b[31m", id="escape-sequence"),
    ],
)
def test_an_invalid_client_request_id_is_replaced(client: FlaskClient, sent: str):
    response = client.get("/healthz", environ_overrides={"HTTP_X_REQUEST_ID": sent.encode().decode("latin-1")})
    assert GENERATED.fullmatch(response.headers["X-Request-Id"])


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\x00", "\x85"])
def test_a_request_id_with_a_trailing_line_break_is_replaced(client: FlaskClient, ending: str):
    response = client.get("/healthz", environ_overrides={"HTTP_X_REQUEST_ID": f"valid{ending}"})
    assert GENERATED.fullmatch(response.headers["X-Request-Id"])


def test_generated_request_ids_are_unique(client: FlaskClient):
    ids = {client.get("/healthz").headers["X-Request-Id"] for _ in range(50)}
    assert len(ids) == 50


def test_response_header_error_body_and_log_have_the_same_request_id(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
):
    app = make_app()

    @app.get("/fail")
    def fail() -> Any:
        raise LookupError

    with caplog.at_level(logging.ERROR, logger="taskapi"):
        response = FlaskClient(app).get("/fail")

    name = response.headers["X-Request-Id"]
    assert response.get_json()["request_id"] == name
    assert caplog.records[0].getMessage().splitlines()[0].endswith(name)


def test_every_kind_of_response_has_a_request_id(alice: Person):
    alice.add()
    headers = {"X-Request-Id": "mine"}
    responses = [
        alice.get(headers=headers),
        alice.get(headers={**headers, "If-None-Match": "*"}),
        alice.get("/1", headers={**headers, "If-None-Match": '"1"'}),
        alice.get("/2", headers=headers),
        alice.get("?x=1", headers=headers),
        alice.post(json={}, headers=headers),
        alice.delete("/1", headers=headers),
        alice.client.get("/api/alice/tasks", headers=headers),
        alice.client.options("/api/alice/tasks", headers=headers),
    ]
    assert {response.headers["X-Request-Id"] for response in responses} == {"mine"}
