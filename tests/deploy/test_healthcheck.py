"""The health check of the API's image is executed as Docker does: its exit status counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from flask import Flask, abort

from tests.conftest import build
from tests.deploy.files import ROOT
from tests.ports import reserved_port
from tests.threaded_server import serve


def check(port: int) -> tuple[int, str]:
    command = [sys.executable, str(ROOT / "deploy/healthcheck.py")]
    result = subprocess.run(command, env={"PORT": str(port)}, capture_output=True, text=True, check=False)
    return result.returncode, result.stderr


@pytest.mark.parametrize("settings", [{}, {"URL_PREFIX": "/tasks-api"}], ids=["root", "prefix"])
def test_a_service_that_responds_is_healthy(sqlite_database_url: str, settings: dict[str, str]):
    with serve(build(sqlite_database_url, **settings)) as port:
        assert check(port) == (0, "")


def test_a_service_that_responds_with_an_error_is_unhealthy():
    app = Flask(__name__)
    app.add_url_rule("/healthz", view_func=failing(500))
    with serve(app) as port:
        assert check(port) == (1, "status 500\n")


def test_no_service_is_unhealthy_with_the_reason_instead_of_a_traceback():
    with reserved_port() as port:
        assert check(port) == (1, "no response: ConnectionRefusedError\n")


def failing(status: int) -> Callable[[], str]:
    def healthz() -> str:
        abort(status)

    return healthz
