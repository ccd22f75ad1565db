"""Access log of gunicorn: path without query string, no headers, with a fast path for ACCESS_LOG_FORMAT."""

from __future__ import annotations

import time
from datetime import timedelta
from logging import INFO, LogRecord
from typing import Any

from gunicorn.glogging import Logger

from ..http.request_id import HEADER as REQUEST_ID
from ..telemetry.log_format import JsonFormatter, access_line
from ..telemetry.request_record import ENVIRON_KEY
from .addresses import unmapped

MILLISECOND = timedelta(milliseconds=1)

ACCESS_LOG_FORMAT = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(M)sms %({x-request-id}o)s'
"""Neither the query string nor request headers, so that a token sent in a URL is not logged."""


class AccessLogger(Logger):
    """gunicorn's Logger; formats the seven fields of ACCESS_LOG_FORMAT without building the 60 atoms of a format.

    `%(U)s` is the path as sent, percent-encoded: decoded, a line break in it would forge a log line (CWE-117).
    """

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, Any]:
        """Return the values of the format's `%(name)s` placeholders; `U` is the path as sent, `h` not IPv4-mapped."""
        atoms: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        return {**atoms, "U": _raw_path(req, environ), "h": unmapped(atoms["h"])}

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Write the line of a response; nothing if the access log is off.

        A format other than ACCESS_LOG_FORMAT is left to gunicorn. A failure to write is ignored.
        """
        if self.cfg.access_log_format != ACCESS_LOG_FORMAT:
            super().access(resp, req, environ, request_time)
        elif self.access_log_enabled:
            path = (_raw_path(req, environ) or "-").replace('"', '\\"')
            status = resp.status.split(None, 1)[0] if isinstance(resp.status, str) else resp.status
            request_id = dict(resp.headers).get(REQUEST_ID, "-")
            address = unmapped(environ.get("REMOTE_ADDR", "-"))
            self._write(
                f'{address} "{environ.get("REQUEST_METHOD")} {path}" {status} {resp.sent} '
                f"{request_time // MILLISECOND}ms {request_id}"
            )

    def _write(self, line: str) -> None:
        """Write a line to every handler of the access log; a write that fails (OSError, ValueError) is skipped."""
        for handler in self.access_log.handlers:
            # gunicorn's own handler, when its stream is open, writes the bare line: skip logging's record and lock.
            stream = getattr(handler, "stream", None) if hasattr(handler, "_gunicorn") else None
            try:
                if stream is None:
                    handler.handle(LogRecord(self.access_log.name, INFO, "", 0, line, None, None))
                else:
                    stream.write(f"{line}\n")
                    stream.flush()
            except (OSError, ValueError):
                continue  # a full disk under the log must not fail the response


class JsonLogger(AccessLogger):
    """gunicorn's Logger for `LOG_FORMAT=json`: both of its logs have the fields of `telemetry/log_format.py`."""

    def setup(self, cfg: Any) -> None:
        """Set the handlers up as gunicorn does; those of the error log format records as JSON."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            if hasattr(handler, "_gunicorn"):
                handler.setFormatter(JsonFormatter())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:  # noqa: ARG002
        """Write the line of a response, if the access log is on, whatever its format.

        It has the route, and not the path, which names the user.
        """
        if not self.access_log_enabled:
            return
        status = resp.status.split(None, 1)[0] if isinstance(resp.status, str) else resp.status
        members = {
            "request_id": dict(resp.headers).get(REQUEST_ID),
            "address": unmapped(environ.get("REMOTE_ADDR") or "-"),
            "method": environ.get("REQUEST_METHOD"),
            "status": int(status),
            "bytes": resp.sent,
            "duration_ms": round(request_time / MILLISECOND, 1),
        }
        self._write(access_line(time.time(), environ.get(ENVIRON_KEY), members))


def _raw_path(request: Any, environ: dict[str, Any]) -> str | None:
    """Return the path of a request as sent, without its query string; None if the request line could not be parsed.

    gunicorn's gevent_pywsgi worker passes the list of headers in place of a request.
    """
    path: str | None = request.path if hasattr(request, "path") else environ["RAW_URI"].partition("?")[0]
    return path
