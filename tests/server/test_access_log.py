"""The access log: one line per request that equals gunicorn's, without query string and without decoded characters."""

from __future__ import annotations

import errno
import io
import logging
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from taskapi.server.access_log import ACCESS_LOG_FORMAT, AccessLogger

WriteLines = Callable[..., list[str]]


def gunicorn_handlers(log: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that gunicorn has added to a logger."""
    return [handler for handler in log.handlers if hasattr(handler, "_gunicorn")]


@pytest.fixture
def write_lines(tmp_path: Path) -> Iterator[WriteLines]:
    """Return a function that logs one request with a logger class and returns the lines of its file."""
    file = tmp_path / "access.log"

    def write(
        kind: type[Logger],
        log_format: str = ACCESS_LOG_FORMAT,
        path: str | None = "/api/alice/tasks",
        *,
        request: Any = None,
        **settings: Any,
    ) -> list[str]:
        file.unlink(missing_ok=True)
        cfg = Config()
        for name, value in {"accesslog": str(file), "access_log_format": log_format, **settings}.items():
            cfg.set(name, value)
        headers = [("ETag", '"1"'), ("X-Request-Id", "find-me")]
        response = SimpleNamespace(status="201 Created", sent=71, headers=headers)
        method = path and "POST"
        environ = {"REMOTE_ADDR": "::1", "REQUEST_METHOD": method, "PATH_INFO": unquote(path or ""), "QUERY_STRING": ""}
        environ |= {"RAW_URI": path or "", "SERVER_PROTOCOL": "HTTP/1.1"}
        request = request or SimpleNamespace(headers=[("ACCEPT", "*/*")], method=method, path=path)
        log = kind(cfg)
        log.access(response, request, environ, timedelta(seconds=3, microseconds=4567))
        for handler in gunicorn_handlers(log.access_log) + gunicorn_handlers(log.error_log):
            handler.close()
        return file.read_text().splitlines()

    yield write
    for name in ("gunicorn.access", "gunicorn.error"):
        for handler in gunicorn_handlers(logging.getLogger(name)):
            logging.getLogger(name).removeHandler(handler)


@pytest.mark.parametrize(
    "log_format", [ACCESS_LOG_FORMAT, '%(h)s %(l)s %(t)s "%(r)s" %({accept}i)s %({x-request-id}o)s']
)
def test_an_access_line_equals_gunicorns(write_lines: WriteLines, log_format: str):
    assert write_lines(AccessLogger, log_format) == write_lines(Logger, log_format) != []


@pytest.mark.parametrize("log_format", [ACCESS_LOG_FORMAT, "%(U)s"])
@pytest.mark.parametrize("path", ['/a%0a127.0.0.1%20"GET', "/%0d%0a%1b[31m", "/%e2%80%a8%c2%85"])
def test_a_path_with_encoded_line_breaks_is_one_line(write_lines: WriteLines, log_format: str, path: str):
    """gunicorn logs the decoded path, in which a line break begins a forged line (CWE-117)."""
    (line,) = write_lines(AccessLogger, log_format, path)
    assert path.replace('"', '\\"') in line
    assert len(write_lines(Logger, log_format, path)) > 1, "gunicorn's own logger is safe, too: remove the override"


def test_a_request_line_that_could_not_be_parsed_is_logged(write_lines: WriteLines):
    assert write_lines(AccessLogger, path=None) == ['::1 "None -" 201 71 3004ms find-me']


def test_a_list_of_headers_in_place_of_the_request_is_logged_by_the_uri(write_lines: WriteLines):
    """gunicorn's gevent_pywsgi worker passes the headers."""
    (line,) = write_lines(AccessLogger, path="/a?token=secret", request=[("ACCEPT", "*/*")])
    assert line == '::1 "POST /a" 201 71 3004ms find-me'


def test_access_lines_go_to_other_handlers_too(write_lines: WriteLines):
    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append((record.name, record.levelname, record.getMessage()))

    records: list[tuple[str, str, str]] = []
    handler = Recording()
    logging.getLogger("gunicorn.access").addHandler(handler)
    (line,) = write_lines(AccessLogger)
    logging.getLogger("gunicorn.access").removeHandler(handler)
    assert records == [("gunicorn.access", "INFO", line)]


def test_access_lines_go_to_syslog_too(write_lines: WriteLines):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        address = f"udp://127.0.0.1:{listener.getsockname()[1]}"
        (line,) = write_lines(AccessLogger, syslog=True, syslog_addr=address)
        received = listener.recv(1000).decode()
    assert received.rstrip("\0").endswith(line)


def test_a_log_file_without_a_stream_is_opened_again(write_lines: WriteLines):
    """gunicorn closes the stream when it reopens log files (SIGUSR1) and cannot open the new file."""

    class Reopened(AccessLogger):
        def access(self, *request: Any) -> None:
            for handler in gunicorn_handlers(self.access_log):
                handler.close()
                assert vars(handler)["stream"] is None
            super().access(*request)

    assert len(write_lines(Reopened)) == 1


def test_a_full_disk_under_the_access_log_fails_no_response(write_lines: WriteLines, monkeypatch: pytest.MonkeyPatch):
    class FullDisk(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logging.FileHandler, "_open", lambda _: FullDisk())
    assert write_lines(AccessLogger) == []
