"""Flask subclass: cached URL matching and hooks; no sessions, host matching, `async` views, and unused signals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, cast

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SessionInterface
from flask.signals import request_finished, request_started
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

ROUTE_CACHE_SIZE, MAX_CACHED_PATH = 2048, 512
"""Entries of the URL matching cache, and the length in characters from which a path is not cached."""

MAX_SHORT_BODY = 64 * 1024
"""Maximum bytes of a body that is read in one call; a longer one is read in pieces."""

Hook = Callable[..., Any]


def current_request() -> Request:
    """Return the current request itself; raises LookupError outside of a request.

    `flask.request` is a proxy, which calls several Python functions for each attribute.
    """
    return _cv_request.get().request


def current_application() -> Flask:
    """Return the current application itself, as `current_request` the request; LookupError outside of its context."""
    return _cv_app.get().app


class _NoSessions(SessionInterface):
    """A session interface without cookies: users are identified by their tokens."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """Return the same null session for every request; Flask would create one for each."""
        return self._session


class _CachedMap(Map):
    """A URL map with an LRU cache from (path, method) to the matched rule and the path variables."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.find_cached = lru_cache(ROUTE_CACHE_SIZE)(self.find_uncached)

    def find_uncached(self, path: str, method: str) -> tuple[Rule, Mapping[str, Any]]:
        """Match without the cache: return the rule and the path variables; raises Werkzeug's 404 and 405.

        `find_cached` wraps this method, and returns the same mapping of path variables to all requests: copy it.
        """
        return self.bind("", path_info=path, default_method=method).match(return_rule=True)


class _RequestContext(RequestContext):
    """A request context that matches the URL with the cache of `_CachedMap`."""

    def match_request(self) -> None:
        """Set url_rule and view_args of the request, or its routing_exception (overrides Flask's documented hook).

        The cache is not used for a path of `MAX_CACHED_PATH` characters or more.
        """
        request = self.request
        routes: Any = self.app.url_map
        find = routes.find_cached if len(request.path) < MAX_CACHED_PATH else routes.find_uncached
        try:
            request.url_rule, view_args = find(request.path, request.method)
        except HTTPException as error:
            request.routing_exception = error
        else:
            request.view_args = {**view_args}  # a copy: hooks remove `user_id` from it


class _Request(Request):
    """A request that reads a short body of known length directly from the server, in one call if possible."""

    _cached_data: Any = None
    """The body once it is read, under Werkzeug's name: it makes `form` of it."""

    def get_data(self, *arguments: Any, **options: Any) -> Any:
        """Return the body; a short one without Werkzeug's reader, which takes 4 % of the bytecodes of a request.

        A body that ends early is returned as it is: the caller compares its length with `content_length`. Raises the
        errors of the server.
        """
        if arguments or options:
            return super().get_data(*arguments, **options)
        if self._cached_data is None:
            length = short_length(self.environ)
            if length is None:
                return super().get_data()
            self._cached_data = self._read(length) if length else b""
        return self._cached_data

    def _read(self, length: int) -> bytes:
        """Read `length` bytes of the body, or up to its end."""
        read = self.environ["wsgi.input"].read
        body: bytes = read(length)
        while len(body) < length and (piece := read(length - len(body))):
            body += piece
        return body


@lru_cache(maxsize=256)
def path_template(rule: str) -> str:
    """Return a rule of the URL map as OpenAPI, logs and traces write it: `/api/{user_id}/tasks/{id}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def short_length(environ: Mapping[str, Any]) -> int | None:
    """Return the length of a body of at most `MAX_SHORT_BODY` bytes, 0 without one; None if it is longer or unknown.

    The worker sets CONTENT_LENGTH of a request without a body, too; other servers need not.
    """
    text = environ.get("CONTENT_LENGTH", "")
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    if text == "0":
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        return None
    length = int(text)
    return length if length <= MAX_SHORT_BODY else None


class Application(Flask):
    """The Flask application: synchronous views only, and no response that depends on the Host header."""

    request_class = _Request

    session_interface = _NoSessions()
    url_map_class = _CachedMap

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hooks = cache(self._find_hooks)
        self._adapter = lru_cache(ROUTE_CACHE_SIZE)(lambda root: self.url_map.bind("", script_name=root))

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func` itself: Flask would check about ten times per request whether it is a coroutine function."""
        return func

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """Return the context of a request, with cached URL matching."""
        return _RequestContext(self, environ)

    def full_dispatch_request(self) -> Response:
        """Call the hooks and the view of the current request as Flask does, and return the response.

        In a third of the steps if there is a view to call, no subscriber of a signal, and if it returns a response.
        """
        context = _cv_request.get()
        request = context.request
        rule = request.url_rule
        if rule is None or request.method == "OPTIONS" or request_started.receivers or request_finished.receivers:
            return super().full_dispatch_request()
        self._got_first_request = True
        before, after = self._hooks(rule.endpoint)
        try:
            result: Any = None
            for hook in before:
                if (result := hook()) is not None:
                    break
            else:
                result = self.view_functions[rule.endpoint](**cast("Any", request.view_args))
        except Exception as error:  # noqa: BLE001  Flask's handler raises what no error handler is registered for
            result = self.handle_user_exception(error)
        if context._after_request_functions or not isinstance(result, Response):  # noqa: SLF001
            return self.finalize_request(result)
        for hook in after:
            result = hook(result)
        return cast("Response", result)

    def _find_hooks(self, endpoint: str) -> tuple[Sequence[Hook], Sequence[Hook]]:
        """Return the before_request and after_request functions of an endpoint, in Flask's order.

        Flask allows no registration after the first request. Raises TypeError for a url_value_preprocessor.
        """
        if self.url_value_preprocessors:
            raise TypeError("Application calls no url_value_preprocessor")
        blueprint, outward = endpoint.rpartition(".")[0], []
        while blueprint:
            outward.append(blueprint)
            blueprint = blueprint.rpartition(".")[0]
        before = [hook for name in (None, *reversed(outward)) for hook in self.before_request_funcs.get(name, ())]
        after = [hook for name in (*outward, None) for hook in reversed(self.after_request_funcs.get(name, ()))]
        return before, after

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter for `url_for`, cached per SCRIPT_NAME: it builds relative URLs, without the host name.

        Not cached for OPTIONS; without a request it is Flask's own.
        """
        if request is None:
            return super().create_url_adapter(None)
        if request.method == "OPTIONS":  # Flask's automatic OPTIONS asks the adapter which methods the path allows
            return self.url_map.bind("", script_name=request.root_path, path_info=request.path)
        return self._adapter(request.root_path)
