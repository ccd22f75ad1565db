"""Flask subclass that caches URL matching per path and method, and has no sessions, host matching and `async` views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

from flask import Flask, Request
from flask.ctx import RequestContext
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

ROUTE_CACHE_SIZE, MAX_CACHED_PATH = 2048, 512
"""Entries of the URL matching cache, and the length in characters from which a path is not cached."""

MAX_SHORT_BODY = 64 * 1024
"""Maximum bytes of a body that is read in one call; a longer one is read in pieces."""

T = TypeVar("T")


def unproxy(proxy: T) -> T:
    """Return the object that a werkzeug LocalProxy points to.

    Each attribute access on a proxy such as `flask.request` reads a context variable first, so get the object once.
    Raises RuntimeError outside of the request or application context.
    """
    target: T = cast("Any", proxy)._get_current_object()  # noqa: SLF001  public in Flask's documentation
    return target


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
        self._adapter = lru_cache(ROUTE_CACHE_SIZE)(lambda root: self.url_map.bind("", script_name=root))

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return `func` itself: Flask would check about ten times per request whether it is a coroutine function."""
        return func

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """Return the context of a request, with cached URL matching."""
        return _RequestContext(self, environ)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter for `url_for`, cached per SCRIPT_NAME: it builds relative URLs, without the host name.

        Not cached for OPTIONS; without a request it is Flask's own.
        """
        if request is None:
            return super().create_url_adapter(None)
        if request.method == "OPTIONS":  # Flask's automatic OPTIONS asks the adapter which methods the path allows
            return self.url_map.bind("", script_name=request.root_path, path_info=request.path)
        return self._adapter(request.root_path)
