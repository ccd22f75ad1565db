"""The Flask app of docs/better-auth.md with recorded tokens of Better Auth."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests import other_app
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET, token

VECTORS = Path(__file__).parent / "auth" / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())["vectors"]

Start = Callable[..., FlaskClient]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Function that executes the code of the page with these environment variables, and returns a client of the app."""

    def start(**environ: str) -> FlaskClient:
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        module: dict[str, Any] = {"__name__": "app"}
        exec(compile(other_app.source(), "app.py", "exec"), module)
        return FlaskClient(module["app"])

    return start


@pytest.mark.parametrize("vector", INDEX, ids=[vector["name"] for vector in INDEX])
def test_recorded_tokens_are_accepted_and_refused_as_recorded(start: Start, vector: dict[str, Any]):
    environ = {"JWT_ISSUER": vector["verify"]["iss"] or "", "JWT_AUDIENCE": vector["verify"]["aud"] or ""}
    text = (VECTORS / vector["token_file"]).read_text().strip()
    keys = json.loads((VECTORS / vector["jwks_file"]).read_text())["keys"] if vector["jwks_file"] else []
    server = KeyServer(*keys)
    try:
        key = {"BETTER_AUTH_SECRET": vector["secret"]} if "secret" in vector else {"BETTER_AUTH_JWKS_URL": server.url}
        response = start(**environ, **key).get("/me", headers={"Authorization": f"Bearer {text}"})
    finally:
        server.stop()
    if vector["expected"] == "valid":
        assert (response.status_code, response.json) == (200, {"id": vector["sub"]})
    else:
        assert response.status_code == 401
        assert 'error="invalid_token", error_description="' in response.headers["WWW-Authenticate"]
        assert response.json["detail"].startswith("Sign in again: ")


def test_a_request_without_a_token_is_401_and_a_preflight_is_not(start: Start):
    client = start(BETTER_AUTH_SECRET=SECRET)
    response = client.get("/me")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="taskapi"')
    assert client.options("/me").status_code == 200


def test_without_keys_the_response_is_503(start: Start):
    server = KeyServer()
    server.mode = "error"
    try:
        client = start(BETTER_AUTH_JWKS_URL=server.url)
        text = (VECTORS / "eddsa.jwt").read_text().strip()
        response = client.get("/me", headers={"Authorization": f"Bearer {text}"})
    finally:
        server.stop()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_no_database_is_opened_for_a_token_with_a_session(start: Start, tmp_path: Path):
    client = start(BETTER_AUTH_SECRET=SECRET, DATABASE_URL=f"sqlite:///{tmp_path}/absent/x.db")
    response = client.get("/me", headers={"Authorization": f"Bearer {token('alice', sid='s-1')}"})
    assert response.json == {"id": "alice"}
