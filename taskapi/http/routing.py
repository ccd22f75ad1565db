"""Flask, without what no request here needs and every request pays for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

from flask import Flask, Request
from flask.ctx import RequestContext
from flask.sessions import NullSession, SessionInterface
from flask.signals import appcontext_tearing_down, request_tearing_down
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

ROUTE_CACHE_SIZE, MAX_CACHED_PATH = 2048, 512
"""So many paths lead to their views without a search, if they are shorter than so many characters."""

T = TypeVar("T")


def unproxy(proxy: T) -> T:
    """What a proxy of Flask's stands for now: it looks for it anew each time it is asked for something."""
    found: T = cast("Any", proxy)._get_current_object()  # noqa: SLF001  documented, whatever it looks like
    return found


class _NoSessions(SessionInterface):
    """Who asks is in the token: there is no session, no cookie and nothing to look for."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return self._none


class _CachedMap(Map):
    """The rules of all paths; which one a path leads to is remembered."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.remembered = lru_cache(ROUTE_CACHE_SIZE)(self.find)

    def find(self, path: str, method: str) -> tuple[Rule, Mapping[str, Any]]:
        """The rule of a path, and what the path has in its variable places; raises 404 and 405."""
        return self.bind("", path_info=path, default_method=method).match(return_rule=True)


class _RequestContext(RequestContext):
    def match_request(self) -> None:
        request = self.request
        routes: Any = self.app.url_map
        find = routes.remembered if len(request.path) < MAX_CACHED_PATH else routes.find
        try:
            request.url_rule, found = find(request.path, request.method)
        except HTTPException as error:
            request.routing_exception = error
        else:
            request.view_args = {**found}


class Application(Flask):
    """As Flask's; views and hooks are plain functions, and no answer depends on the name that a client has for us."""

    session_interface = _NoSessions()
    url_map_class = _CachedMap

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._adapter = lru_cache(ROUTE_CACHE_SIZE)(lambda root: self.url_map.bind("", script_name=root))

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is a coroutine, so none is asked whether it is one, ten times a request."""
        return func

    def do_teardown_request(self, *error: Any) -> None:
        """Tell whoever wants to know that a request has ended."""
        if self.teardown_request_funcs or request_tearing_down.receivers:
            super().do_teardown_request(*error)

    def do_teardown_appcontext(self, *error: Any) -> None:
        """Tell whoever wants to know that all about it is over."""
        if self.teardown_appcontext_funcs or appcontext_tearing_down.receivers:
            super().do_teardown_appcontext(*error)

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """What Flask knows while it works on a request."""
        return _RequestContext(self, environ)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Finds the paths of views: relative ones, so that the host need not be looked at."""
        if request is None:
            return super().create_url_adapter(None)
        if request.method == "OPTIONS":  # which asks what else its path can do
            return self.url_map.bind("", script_name=request.root_path, path_info=request.path)
        return self._adapter(request.root_path)
