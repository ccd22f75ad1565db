"""The loop of docs/api.md that splits an export, executed by a shell."""

from __future__ import annotations

import json
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

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
PROGRAMS = ("bash", "curl", "jq", "seq")


@pytest.fixture
def address(make_app: Callable[..., Flask]) -> Iterator[str]:
    """The host and port of a service; a user may import one part a second."""
    with serve(make_app(RATE_LIMIT="1/second")) as port:
        yield f"127.0.0.1:{port}"


def run_loop(folder: Path, address: str, tasks: list[dict[str, object]]) -> str:
    """Run the loop of the page for a file with these tasks, two at a time; return the bodies of the responses."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        assert not os.environ.get("CI"), f"{missing} are missing: the loop of docs/api.md was not executed"
        pytest.skip(f"{missing} are not installed: the loop of docs/api.md is not executed")
    (folder / "tasks.json").write_text(json.dumps({"format": "taskapi", "tasks": tasks}))
    (loop,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    script = loop.replace("1000", "2").replace("localhost:8000", address)
    auth = {"AUTH": f"Authorization: Bearer {token('alice')}", "JSON": "Content-Type: application/json"}
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **auth},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_loop_imports_every_task_of_a_file_and_waits_for_the_rate_limit(address: str, tmp_path: Path) -> None:
    responses = run_loop(tmp_path, address, [{"title": f"Task {number}"} for number in range(5)])
    assert re.findall(r'"created":(\d+)', responses) == ["2", "2", "1"]
    assert '"status":429' in responses


def test_the_loop_ends_at_the_first_error(address: str, tmp_path: Path) -> None:
    responses = run_loop(tmp_path, address, [{"title": "Fine"}, {"title": ""}, {"title": "Not sent"}])
    assert re.findall(r'"(?:status|created)":(\d+)', responses) == ["422"]
