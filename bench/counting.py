"""gunicorn configuration for bench/bytecodes.py: the repository's, with a worker that counts executed bytecodes.

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
"""Bytecodes by code object, one counter per request; empty until counting starts."""


def post_worker_init(worker: Any) -> None:
    """Trace every connection, and count the requests from the one with `X-Count: begin` to the one with `end`.

    The counts are written as JSON to the file that the environment variable `COUNTS` names.
    """
    _settings["post_worker_init"](worker)
    handle, application = worker.handle, worker.wsgi

    def traced(*connection: Any) -> None:
        sys.settrace(_trace)
        handle(*connection)

    def counting_app(environ: dict[str, Any], start_response: Any) -> Any:
        _handle_command(environ.get("HTTP_X_COUNT"))
        return application(environ, start_response)

    worker.handle, worker.wsgi = traced, counting_app


def _handle_command(command: str | None) -> None:
    """Start counting, write the counts to the file, or start the counter of the next request."""
    if command == "end":
        counts = [
            [(code.co_filename, code.co_qualname, count) for code, count in request.items()] for request in _requests
        ]
        Path(os.environ["COUNTS"]).write_text(json.dumps(counts))
        _requests.clear()
    elif command == "begin" or _requests:
        _requests.append(Counter())


def _trace(frame: FrameType, _event: str, _argument: Any) -> Any:
    """Trace function of `sys.settrace`: trace the bytecodes of each new frame, not its lines."""
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _count


def _count(frame: FrameType, event: str, _argument: Any) -> Any:
    """Local trace function: count a bytecode for the current request."""
    if event == "opcode" and _requests:
        _requests[-1][frame.f_code] += 1
    return _count
