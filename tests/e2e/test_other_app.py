"""Another Flask app, that of docs/better-auth.md, verifies the tokens of the frontend."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests import other_app
from tests.conftest import SECRET
from tests.e2e.api import claims
from tests.e2e.person import Person
from tests.e2e.stack import Stack
from tests.gunicorn_server import CLIENT_TIMEOUT, ROOT, stopping
from tests.ports import reserved_port
from tests.waiting import until


@contextmanager
def serve(stack: Stack, folder: Path) -> Iterator[int]:
    """Run the app with the keys of a stack, as the page says; yield its port."""
    (folder / "app.py").write_text(other_app.source())
    keys = {"BETTER_AUTH_URL": stack.url} if stack.mode == "key-pair" else {"BETTER_AUTH_SECRET": SECRET}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JWT_ISSUER": stack.url, "JWT_AUDIENCE": stack.url}
    with reserved_port() as port:
        command = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env={**environ, **keys}, stderr=subprocess.DEVNULL)
        with stopping(process):
            until(lambda: listens(port) or process.poll() is not None, otherwise="the app did not start")
            yield port


def listens(port: int) -> bool:
    try:
        return ask(port, "")[0] == 401
    except OSError:
        return False


def ask(port: int, token: str) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT)) as connection:
        connection.request("GET", "/me", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_another_flask_app_accepts_the_tokens_of_the_frontend_and_no_changed_ones(alice: Person, tmp_path: Path):
    token = alice.token()
    with serve(alice.stack, tmp_path) as port:
        assert ask(port, token) == (200, {"id": claims(token)["sub"]})
        head, _, signature = token.split(".")
        for changed in (f"{head}.{token.split('.')[1]}.{signature[:-8]}AAAAAAAA", "", "x"):
            status, problem = ask(port, changed)
            assert (status, problem["code"]) == (401, "unauthorized")
