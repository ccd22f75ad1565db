"""Which web pages may call the API from a browser, and what they may send and see."""

from __future__ import annotations

from flask import Flask
from flask_cors import CORS

from ..config import Config

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ALLOW_HEADERS = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-Id"]
EXPOSE_HEADERS = [
    *("ETag", "Link", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "X-Total-Count"),
    *("Idempotency-Replayed", "WWW-Authenticate", "Accept-Patch", "Content-Disposition"),
]

PREFLIGHT_SECONDS = 7200
"""How long a browser may remember the answer to a preflight; Chromium remembers none for longer."""


def init_app(app: Flask, config: Config) -> None:
    """Let the configured origins in, without credentials: the token is a header, never a cookie."""
    if config.cors_origins:
        CORS(
            app,
            origins=list(config.cors_origins),
            methods=METHODS,
            allow_headers=ALLOW_HEADERS,
            expose_headers=EXPOSE_HEADERS,
            max_age=PREFLIGHT_SECONDS,
            # A request that names no origin is told of none; `Vary` stands on every answer anyway (response.py).
            always_send=False,
            vary_header=False,
        )
