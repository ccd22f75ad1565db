"""`LOG_FORMAT=json`: every line of every process is a JSON object with documented fields."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskapi.config.settings import Config, ConfigError
from taskapi.telemetry.log_format import FIELDS, JsonFormatter, access_line, json_line, start_error
from taskapi.telemetry.request_record import RequestRecord, current_record
from taskapi.telemetry.user_hash import user_hasher
from tests.conftest import SECRET
from tests.gunicorn_server import ROOT, Request, launch
from tests.waiting import until

KEY = "a-key-for-hashed-user-ids"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def format_record(message: str, **members: Any) -> dict[str, Any]:
    """Format a log record, and return the object of its line."""
    record = logging.LogRecord("taskapi.somewhere", logging.WARNING, "", 0, message, members.pop("args", None), None)
    vars(record).update(members)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Return the objects of a log; fails for a line that is none, and for an undocumented field."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert not {name for line in lines for name in line} - set(FIELDS)
    return lines


def requests_in(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(log) if line["logger"] == "gunicorn.access"]


def test_a_record_is_one_line_with_its_facts():
    fields = format_record("%s is %d", args=("it", 7), created=1_700_000_000.5, process=4711)
    assert fields == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "WARNING",
        "logger": "taskapi.somewhere",
        "message": "it is 7",
        "pid": 4711,
    }


def test_further_lines_and_a_traceback_are_the_stack_trace():
    try:
        json.loads("{")
    except ValueError:
        fields = format_record("failed\nwith details", exc_info=sys.exc_info())
    assert fields["message"] == "failed"
    assert fields["stack_trace"].startswith("with details\nTraceback (most recent call last):\n")
    assert "\njson.decoder.JSONDecodeError: " in fields["stack_trace"]


def test_a_record_within_a_request_has_its_ids():
    token = current_record.set(RequestRecord(trace_id=TRACE, request_id="find-me", user="abc"))
    try:
        fields = format_record("in a request")
    finally:
        current_record.reset(token)
    assert (fields["trace_id"], fields["request_id"], fields["user"]) == (TRACE, "find-me", "abc")
    assert "request_id" not in format_record("outside of requests")


def test_control_characters_and_surrogates_are_escaped():
    assert json.loads(json_line({"message": "\x1b[31m\u2028\r\n", "route": None})) == {"message": "\x1b[31m\u2028\r\n"}
    line = json_line({"message": "\ud800\n"})
    assert json.loads(line) == {"message": "\ud800\n"}
    assert line.isascii()
    assert "\n" not in line


def test_the_line_of_a_request_without_a_record_has_what_the_server_knows():
    fields = json.loads(access_line(0, None, {"method": "GET", "status": 400}))
    assert (fields["method"], fields["status"], fields["time"]) == ("GET", 400, "1970-01-01T00:00:00.000Z")
    assert "statements" not in fields


def test_a_hash_of_a_user_depends_on_the_key_and_is_the_same_in_each_process():
    hashed = user_hasher(KEY)("alice")
    assert re.fullmatch(r"[0-9a-f]{16}", hashed)
    assert user_hasher(KEY)("alice") == hashed
    assert user_hasher(KEY)("bob") != hashed
    assert user_hasher("another-key-of-users")("alice") != hashed
    assert user_hasher(None)("alice") != user_hasher(None)("alice")


def test_the_documented_command_computes_the_hash_of_a_user():
    page = (ROOT / "docs/operations.md").read_text()
    (command,) = re.findall(r"^\$ (printf %s alice .*)$", page, re.MULTILINE)
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    environ = {"PATH": os.environ["PATH"], "LOG_USER_KEY": KEY}
    printed = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == user_hasher(KEY)("alice")


def test_the_table_of_operations_md_has_every_field():
    page = (ROOT / "docs/operations.md").read_text()
    table = page.partition("## Logs\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(FIELDS)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is neither text nor json"),
        ({"LOG_USER_KEY": "short"}, "LOG_USER_KEY has fewer than 16 characters"),
    ],
)
def test_an_invalid_setting_of_the_log_is_a_start_error(environ: dict[str, str], problem: str):
    with pytest.raises(ConfigError, match=problem):
        Config.from_env({"BETTER_AUTH_SECRET": SECRET, **environ})


def test_a_start_error_is_one_line_of_json():
    error = ConfigError(["one", "two"])
    assert start_error(error, {}) == "taskapi cannot start:\n  - one\n  - two"
    fields = json.loads(start_error(error, {"LOG_FORMAT": "json"}))
    assert (fields["level"], fields["message"]) == ("CRITICAL", "taskapi cannot start: - one - two")


@pytest.mark.parametrize("command", [["-m", "taskapi"], ["-m", "gunicorn", "wsgi:app"], ["-c", "import wsgi"]])
def test_a_process_that_cannot_start_says_so_in_json(command: list[str], tmp_path: Path):
    environ = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json", "DATABASE_URL": "nonsense"}
    failed = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert "DATABASE_URL is" in json.loads(line)["message"]
    assert not failed.stdout


def test_each_request_is_one_line_with_its_ids_user_route_and_work(empty_database_url: str, tmp_path: Path):
    log = tmp_path / "log"
    with launch(empty_database_url, "wsgi:app", log=log, LOG_FORMAT="json", LOG_USER_KEY=KEY) as (_, server):
        headers = (("X-Request-Id", "find-me"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
        created = server.send("alice", Request("POST", json={"title": "Buy milk"}, headers=headers))
        assert created.status == 201
        server.send("alice", Request("GET", "?q=secret"))
        server.send("mallory", Request("GET", "/99"))
        until(lambda: len(requests_in(log)) >= 4)  # the first is that of the probe
    probe, create, read, absent = requests_in(log)
    assert create.pop("time") < read["time"]
    assert create.pop("duration_ms") > 0
    assert create.pop("pid") > 0
    is_sqlite = empty_database_url.startswith("sqlite")
    assert create.pop("round_trips") == (create["statements"] + 1 if is_sqlite else 1)
    assert create.pop("statements") >= 1
    assert create.pop("bytes") == len(created.body)
    assert create == {
        "level": "INFO",
        "logger": "gunicorn.access",
        "message": "request",
        "request_id": "find-me",
        "trace_id": TRACE,
        "user": user_hasher(KEY)("alice"),
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/api/{user_id}/tasks",
        "status": 201,
    }
    assert read["user"] == create["user"] != absent["user"]
    assert "trace_id" not in read
    assert (absent["status"], absent["route"]) == (404, "/api/{user_id}/tasks/{id}")
    assert (probe["route"], probe["statements"], "user" in probe) == ("/healthz", 0, False)
    for secret in ("alice", "mallory", "secret", "milk"):
        assert secret not in log.read_text()


def test_the_master_the_workers_and_refused_requests_write_json_too(sqlite_database_url: str, tmp_path: Path):
    log = tmp_path / "log"
    with launch(sqlite_database_url, "wsgi:app", log=log, LOG_FORMAT="json") as (process, server):
        server.send("alice", Request("GET", headers=(("Authorization", "Bearer nonsense"),)))
        assert server.raw(b"NOT HTTP\r\n\r\n", hang_up=True).status == 400
        process.send_signal(signal.SIGHUP)
        until(lambda: "Handling signal: hup" in log.read_text())
    messages = " ".join(line["message"] for line in lines_of(log))
    for part in (
        "Starting gunicorn",
        "Booting worker",
        "a token was rejected",
        "Invalid request",
        "Handling signal: hup",
    ):
        assert part in messages


def test_a_defect_is_one_line_with_its_stack_trace_and_then_one_line_for_each_request(tmp_path: Path):
    """The database is not migrated: each request fails in the same way."""
    log = tmp_path / "log"
    with launch(f"sqlite:///{tmp_path}/new.db", "wsgi:app", log=log, LOG_FORMAT="json", WEB_CONCURRENCY="1") as (
        _,
        server,
    ):
        for number in range(3):
            assert server.send("alice", Request("GET", headers=(("X-Request-Id", f"id-{number}"),))).status == 500
    defects = [line for line in lines_of(log) if line["level"] == "ERROR" and "unhandled" in line["message"]]
    assert [line["request_id"] for line in defects] == ["id-0", "id-1", "id-2"]
    assert "SQLITE_ERROR" in defects[0]["stack_trace"]
    assert not [line for line in defects[1:] if "stack_trace" in line]


def test_what_nothing_catches_is_one_line_of_json(tmp_path: Path):
    code = (
        "import threading, warnings; from taskapi import create_app; create_app()\n"
        "warnings.warn('be careful')\n"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()\n"
        "raise RuntimeError('the end')"
    )
    environ = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json", "BETTER_AUTH_SECRET": SECRET}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["WARNING", "CRITICAL", "CRITICAL"]
    assert "be careful" in lines[0]["message"]
    assert "ZeroDivisionError" in lines[1]["stack_trace"]
    assert lines[2]["stack_trace"].endswith("RuntimeError: the end")


def test_the_error_of_a_greenlet_is_one_line_of_json(sqlite_database_url: str, tmp_path: Path):
    (tmp_path / "failing_app.py").write_text(
        "import gevent\nfrom wsgi import app\n"
        "def fail(): raise ValueError('in a greenlet')\n"
        "@app.before_request\ndef spawn(): gevent.spawn(fail)\n"
    )
    log = tmp_path / "log"
    with launch(sqlite_database_url, "--pythonpath", str(tmp_path), "failing_app:app", log=log, LOG_FORMAT="json") as (
        _,
        server,
    ):
        server.send("alice", Request("GET"))
        until(lambda: "in a greenlet" in log.read_text())
    failures = [line for line in lines_of(log) if line["message"] == "unhandled ValueError"]
    assert failures
    assert failures[0]["stack_trace"].endswith("ValueError: in a greenlet\n")
