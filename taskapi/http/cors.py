"""CORS: allow web pages of the configured origins to call the API."""

from __future__ import annotations

import re

from flask import Flask
from flask_cors import CORS

from ..config.settings import Config

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ALLOW_HEADERS = [
    *("Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "X-Request-Id"),
    # Tracing libraries (OpenTelemetry, Sentry) add these to every request of a page; it reads `traceparent`.
    *("traceparent", "tracestate", "baggage", "sentry-trace"),
]
EXPOSE_HEADERS = [
    *("ETag", "Link", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id", "X-Total-Count"),
    *("Idempotency-Replayed", "WWW-Authenticate", "Accept-Patch", "Content-Disposition"),
]

PREFLIGHT_SECONDS = 7200
"""`Access-Control-Max-Age`, the seconds for which a browser caches a preflight response; Chromium's maximum."""


def init_app(app: Flask, config: Config) -> None:
    """Let pages of `config.cors_origins` call the API without cookies (Flask-CORS); without origins do nothing."""
    if config.cors_origins:
        CORS(
            app,
            # Compiled, because Flask-CORS would take the brackets of an IPv6 address for a regular expression.
            origins=[re.compile(re.escape(origin) + r"\Z") for origin in config.cors_origins],
            methods=METHODS,
            allow_headers=ALLOW_HEADERS,
            expose_headers=EXPOSE_HEADERS,
            max_age=PREFLIGHT_SECONDS,
            # No CORS headers on responses to requests without Origin; response.py sets `Vary: Origin` on all responses.
            always_send=False,
            vary_header=False,
        )
