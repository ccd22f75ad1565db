"""Flask, without what no request here needs and every request pays for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface


class _NoSessions(SessionInterface):
    """Who asks is in the token: there is no session, no cookie and nothing to look for."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return self._none


class Application(Flask):
    """As Flask's; views and hooks are plain functions."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is a coroutine, so none is asked whether it is one, ten times a request."""
        return func
