"""The settings of gunicorn, and `python -m taskapi`, which checks them before gunicorn reads one itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.config.environment import LOG_LEVELS
from taskapi.config.settings import ConfigError
from taskapi.server.settings import ServerSettings
from tests.conftest import SECRET
from tests.gunicorn_server import ROOT, spawn_on_socket, stopping, wait_until_up
from tests.waiting import until

WORKERS = "WEB_CONCURRENCY is not a whole number from 1 to 1000"
PORT = "PORT is not a whole number from 1 to 65535"
METRICS_HOST = "METRICS_HOST is not an IP address such as 127.0.0.1 or 0.0.0.0"


def start(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Check the configuration in a process of its own, without starting the server."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": "sqlite:////t.db", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_variable_counts_as_absent(value: str | None):
    environ = {} if value is None else dict.fromkeys(("WEB_CONCURRENCY", "PORT", "LOG_LEVEL"), value)
    assert ServerSettings.from_env(environ) == ServerSettings(workers=2, port=8000, log_level="info")


def test_each_setting_is_read():
    environ = {
        "WEB_CONCURRENCY": " 16 ",
        "PORT": "80",
        "LOG_LEVEL": "Debug",
        "METRICS_PORT": "9090",
        "METRICS_HOST": "::",
    }
    assert ServerSettings.from_env(environ) == ServerSettings(16, 80, "debug", metrics_port=9090, metrics_host="::")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        *(("WEB_CONCURRENCY", value, WORKERS) for value in ("0", "-1", "1.5", "two", "1001", "2 # cores")),
        *(("PORT", value, PORT) for value in ("0", "65536", "http", "8000/tcp", "tcp://10.0.0.1:8000")),
        ("LOG_LEVEL", "loud", f"LOG_LEVEL is none of {', '.join(LOG_LEVELS)}"),
        *(("METRICS_PORT", value, f"METRICS_{PORT}") for value in ("0", "65536", "9090/tcp")),
        ("METRICS_PORT", "8000", "METRICS_PORT is the public port (PORT): choose another one"),
        *(("METRICS_HOST", value, METRICS_HOST) for value in ("localhost", "*", "0.0.0.0:9090", "[::]")),
    ],
)
def test_an_invalid_value_is_a_config_error(name: str, value: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        ServerSettings.from_env({name: value})
    assert caught.value.problems == [problem]


def test_gunicorn_prints_an_invalid_setting_without_a_traceback():
    refused = start("-m", "gunicorn", "--check-config", "wsgi:app", WEB_CONCURRENCY="0", PORT="http")
    assert refused.returncode == 1
    assert refused.stderr == f"taskapi cannot start:\n  - {WORKERS}\n  - {PORT}\n"


def test_python_m_taskapi_lists_the_problems_of_all_settings_without_a_traceback():
    refused = start("-m", "taskapi", "--check-config", WEB_CONCURRENCY="two", PORT="http", CORS_ORIGINS="*")
    assert refused.returncode == 1
    assert refused.stdout == ""
    first, *problems = refused.stderr.splitlines()
    assert first == "taskapi cannot start:"
    assert problems[1:] == [f"  - {WORKERS}", f"  - {PORT}"]
    assert "CORS_ORIGINS" in problems[0]


def test_python_m_taskapi_serves_with_empty_variables(tmp_path: Path):
    environ = dict.fromkeys(("WEB_CONCURRENCY", "PORT", "LOG_LEVEL"), "")
    environ |= {"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": "sqlite:////t.db"}
    log = tmp_path / "log"
    process, port = spawn_on_socket(lambda fd: [sys.executable, "-m", "taskapi", "--bind", f"fd://{fd}"], environ, log)
    with stopping(process):
        wait_until_up(process, port, log)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        # The process itself becomes gunicorn, with the default number of workers.
        until(lambda: len(children.read_text().split()) == 2)
    assert process.returncode == 0


def test_the_format_of_the_log_is_read():
    assert ServerSettings.from_env({}).log_format == "text"
    assert ServerSettings.from_env({"LOG_FORMAT": "json"}).log_format == "json"
    with pytest.raises(ConfigError, match="LOG_FORMAT is neither text nor json"):
        ServerSettings.from_env({"LOG_FORMAT": "xml"})
