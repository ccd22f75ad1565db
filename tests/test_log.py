"""The service's log: LOG_LEVEL applies, and a process with handlers of its own gets each line once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import SECRET
from tests.gunicorn_server import ROOT

WRITE = """
import logging
from taskapi import create_app
{before}
create_app()
{after}
for level in ("debug", "info", "warning", "error"):
    getattr(logging.getLogger("taskapi.auth.hook"), level)(level)
    getattr(logging.getLogger("taskapi.database.pool.Pool"), level)("pool %s", level)
"""


def written(level: str, before: str = "", after: str = "") -> list[str]:
    """Return the lines that a process writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE.format(before=before, after=after)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "LOG_LEVEL": level},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("DEBUG", ["debug", "info", "warning", "pool warning", "error", "pool error"]),
        ("", ["info", "warning", "pool warning", "error", "pool error"]),
        ("ERROR", ["error", "pool error"]),
    ],
)
def test_the_log_has_the_lines_from_its_level_on_and_no_information_of_the_pool(level: str, lines: list[str]):
    assert written(level) == lines


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_with_handlers_of_its_own_writes_each_line_once(when: str):
    lines = written("INFO", **{when: "logging.basicConfig(format='%(levelname)s %(message)s')"})
    assert lines == ["INFO info", "WARNING warning", "WARNING pool warning", "ERROR error", "ERROR pool error"]
