"""gunicorn's configuration for bench/bytecodes.py: that of the repository, with a worker that counts what it executes.

python -m gunicorn --config python:bench.counting wsgi:app
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_settings = runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py"))
globals().update({name: value for name, value in _settings.items() if not name.startswith("_")})

_requests: list[Counter[CodeType]] = []
"""What was executed from one request to the next, since it was told to count; nothing before."""


def post_worker_init(worker: Any) -> None:
    """Trace every connection; count each request from the one with `X-Count: begin` to `end`, for the file `COUNTS`."""
    _settings["post_worker_init"](worker)
    handle, application = worker.handle, worker.wsgi

    def traced(*connection: Any) -> None:
        sys.settrace(_trace)
        handle(*connection)

    def told(environ: dict[str, Any], start_response: Any) -> Any:
        _obey(environ.get("HTTP_X_COUNT"))
        return application(environ, start_response)

    worker.handle, worker.wsgi = traced, told


def _obey(word: str | None) -> None:
    if word == "end":
        counted = [
            [(code.co_filename, code.co_qualname, count) for code, count in request.items()] for request in _requests
        ]
        Path(os.environ["COUNTS"]).write_text(json.dumps(counted))
        _requests.clear()
    elif word == "begin" or _requests:
        _requests.append(Counter())


def _trace(frame: FrameType, _event: str, _argument: Any) -> Any:
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _count


def _count(frame: FrameType, event: str, _argument: Any) -> Any:
    if event == "opcode" and _requests:
        _requests[-1][frame.f_code] += 1
    return _count
