"""The adapter of docs/migrating.md: the page shows the tested file, and public frontends' calls work through it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import token
from tests.threaded_server import serve

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = ROOT / "docs/examples/fastapi-fetch.mjs"
CALLS = Path(__file__).parent / "fastapi_clients.mjs"


@pytest.fixture
def url(make_app: Callable[..., Flask]) -> Iterator[str]:
    """The URL of a running service."""
    with serve(make_app(RATE_LIMIT="off")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not shutil.which("node") and not os.environ.get("CI"), reason="node is not installed")
@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Auckland"])
def test_the_calls_of_frontends_written_for_fastapi_work_through_the_adapter(url: str, zone: str) -> None:
    environment = {"PATH": os.environ["PATH"], "API": url, "USER": "alice", "TOKEN": token("alice"), "TZ": zone}
    done = subprocess.run(["node", CALLS], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_shows_the_adapter_that_is_tested() -> None:
    shown = re.findall(r"^```js\n(.*?)^```$", (ROOT / "docs/migrating.md").read_text(), re.MULTILINE | re.DOTALL)
    assert ADAPTER.read_text() in shown


def test_the_adapter_has_about_thirty_lines() -> None:
    lines = [
        line for line in ADAPTER.read_text().splitlines() if line.strip() and not line.strip().startswith(("/*", "*"))
    ]
    assert len(lines) <= 35
