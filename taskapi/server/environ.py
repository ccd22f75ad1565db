"""WSGI environ (PEP 3333) and response of a request, like gunicorn.http.wsgi.create, which serves uncommon requests.

tests/server/test_environ.py compares both.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from .response import FastResponse

Environ = dict[str, Any]


class EnvironFactory:
    """Makes the response and the WSGI environ of each request; what all environs of a worker share is computed once."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        self._base = {**wsgi.base_environ(cfg), "wsgi.errors": ErrorStream(cfg), "wsgi.multithread": True}
        self._has_script_name = bool(os.environ.get("SCRIPT_NAME"))

    def create(self, request: Any, connection: Any, client: Any, server: Any) -> tuple[FastResponse, Environ]:
        """Return an empty response and the WSGI environ of a request; `client` and `server` are socket addresses.

        gunicorn's `create` makes those of an uncommon request: not over TCP, with SCRIPT_NAME, with the PROXY protocol,
        or with `Expect: 100-continue`, to which it responds.
        """
        is_tcp = isinstance(client, tuple) and isinstance(server, tuple)
        expects_continue = request._expected_100_continue  # noqa: SLF001  gunicorn has no public name for it
        if is_tcp and not (self._has_script_name or expects_continue or request.proxy_protocol_info):
            environ = self._build(request, connection, client, server)
            if environ is not None:
                return FastResponse(request, connection, self._cfg), environ
        response, environ = wsgi.create(request, connection, client, server, self._cfg, response_class=FastResponse)
        return response, {**environ, "wsgi.multithread": True}

    def _build(self, request: Any, connection: Any, client: tuple[Any, ...], server: tuple[Any, ...]) -> Environ | None:
        """Return the environ of a request over TCP; None if a header (SCRIPT_NAME) needs gunicorn's own code."""
        environ = {
            **self._base,
            "wsgi.input": request.body,
            "wsgi.url_scheme": request.scheme,
            "gunicorn.socket": connection,
            "REQUEST_METHOD": request.method,
            "RAW_URI": request.uri,
            "SCRIPT_NAME": "",
            "PATH_INFO": util.unquote_to_wsgi_str(request.path),
            "QUERY_STRING": request.query,
            "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
        }
        for name, value in request.headers:
            variable = _variable_name(name)
            if not variable:
                return None
            environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
        if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
            environ["CONTENT_LENGTH"] = "0"  # RFC 9112, section 6.3: the application need not read an empty body
        return environ


@lru_cache(maxsize=256)
def _variable_name(header: str) -> str:
    """Return the environ variable of a header, such as HTTP_ACCEPT or CONTENT_TYPE; "" for SCRIPT_NAME.

    SCRIPT_NAME changes the path, which gunicorn's own code does.
    """
    variable = header.replace("-", "_")
    return "" if header == "SCRIPT_NAME" else variable if variable in _WITHOUT_PREFIX else "HTTP_" + variable


_WITHOUT_PREFIX = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


class ErrorStream:
    """`wsgi.errors`: the streams of gunicorn's error log, looked up at each write because log files are reopened."""

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        """Return an attribute, such as `write`, of a gunicorn error stream made for this access."""
        return getattr(wsgi.WSGIErrorsWrapper(self._cfg), name)
