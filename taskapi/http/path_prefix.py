"""Path prefix of a reverse proxy, such as `/tasks-api`: the URLs of all responses begin with it.

The prefix is `URL_PREFIX`, or `X-Forwarded-Prefix` of trusted proxies. The proxy may remove it from the path of the
requests, or leave it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from flask import Flask

from ..config.path_prefixes import parse_path_prefix
from ..config.settings import Config

HEADER = "HTTP_X_FORWARDED_PREFIX"
"""Key of the WSGI environ for the header."""

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

_EXTENSION = "taskapi.http.path_prefix"

_APPLIED = "taskapi.path_prefix_applied"
"""Key of the WSGI environ, which is set when its path has been processed."""


class PathPrefix:
    """Moves the path prefix of requests from PATH_INFO to SCRIPT_NAME, with which Flask's `url_for` begins every URL.

    `prefix` is the configured one. If it is "", that of `X-Forwarded-Prefix` is used if there are `trusted_proxies`.
    """

    def __init__(self, app: Flask, prefix: str, trusted_proxies: int) -> None:
        self._app = app
        self._prefix = prefix
        self._trusted_proxies = trusted_proxies

    def in_front_of(self, application: Application) -> Application:
        """Return a WSGI application that applies the prefix to a request before it calls `application`."""

        def prefixed(environ: Environ, start_response: Any) -> Iterable[bytes]:
            """Apply the prefix, unless an outer application has done so, and call the wrapped application."""
            if _APPLIED not in environ:
                environ[_APPLIED] = True
                self._apply(environ)
            return application(environ, start_response)

        return prefixed

    def _apply(self, environ: Environ) -> None:
        """Set SCRIPT_NAME to the prefix, if there is one, and remove the prefix from PATH_INFO.

        It is removed only if the rest is a path of this service: with the prefix `/api`, the path `/api/alice/tasks`
        comes from a proxy that has removed the prefix.
        """
        prefix = self._prefix or self._forwarded_prefix(environ.get(HEADER, ""))
        if not prefix:
            return
        environ["SCRIPT_NAME"] = prefix
        path: str = environ["PATH_INFO"]
        rest = path.removeprefix(prefix)
        if rest != path and rest.split("/", 2)[:2] in self._roots:
            environ["PATH_INFO"] = rest

    def _forwarded_prefix(self, header: str) -> str:
        """Return the prefixes in X-Forwarded-Prefix, joined, the outermost one first; "" if absent or one is invalid.

        Each proxy appends the prefix that it removes. As in X-Forwarded-For, only the last `trusted_proxies` values
        count.
        """
        if not header:
            return ""
        values = header.split(",")[-self._trusted_proxies :]
        prefixes = [parse_path_prefix(value.strip(" \t") or "/") for value in values]
        return "" if None in prefixes else parse_path_prefix("".join(filter(None, prefixes))) or ""

    @cached_property
    def _roots(self) -> list[list[str]]:
        """The first segment of each route as ["", segment], which is how `_apply` splits a path; computed once."""
        return [rule.rule.split("/", 2)[:2] for rule in self._app.url_map.iter_rules()]


def init_app(app: Flask, config: Config) -> None:
    """Wrap `app.wsgi_app` so that each request's path prefix moves from PATH_INFO, if it is there, to SCRIPT_NAME.

    Do nothing if neither `URL_PREFIX` nor a trusted proxy, which may send `X-Forwarded-Prefix`, is configured.
    """
    if config.url_prefix or config.trusted_proxies:
        prefix = PathPrefix(app, config.url_prefix, config.trusted_proxies)
        app.extensions[_EXTENSION] = prefix
        vars(app)["wsgi_app"] = prefix.in_front_of(app.wsgi_app)


def in_front_of(application: Application, app: Application) -> Application:
    """Return `application`, a wrapper of `app`, wrapped so that it gets the path without the prefix, as `app` does.

    Returns it unchanged if `app` has no prefix: none is configured, or `create_app` did not make it.
    """
    prefix: PathPrefix | None = app.extensions.get(_EXTENSION) if isinstance(app, Flask) else None
    return prefix.in_front_of(application) if prefix else application
