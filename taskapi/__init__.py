"""A task service behind Better Auth, where a valid token gives access to exactly one user's tasks."""

from __future__ import annotations

import logging
import os

from flask import Flask

from . import cli, docs
from .auth import backchannel, hook
from .config.settings import Config
from .database import engine, pool
from .docs import openapi
from .guard import blueprint, rate_limit
from .http import cors, errors, observation, path_prefix, response
from .http.request import MAX_BODY_BYTES
from .http.routing import Application
from .operations import health
from .tasks import endpoints
from .telemetry import log_format


def create_app(config: Config | None = None) -> Flask:
    """Return a new Flask application for `config`, by default from the environment (raises `ConfigError`).

    Does not connect to the database, Redis or the issuer. Sets the level of the service's log.
    """
    config = config or Config.from_env(os.environ)
    _configure_log(config)

    app = Application(__name__, static_folder=None)
    app.config["REQUIRE_IF_MATCH"] = config.require_if_match
    app.config["MAX_TASKS_PER_USER"] = config.max_tasks_per_user
    # Upper bound for every read of a body, whatever the method and path; a view may raise its own (http/request.py).
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # Otherwise werkzeug responds to `//` in a path with a redirect, before the token is verified.
    app.url_map.merge_slashes = False

    errors.init_app(app)  # first, so that failures of everything below have an error handler
    engine.init_app(app, config)
    hook.init_app(app, config)
    rate_limit.init_app(app, config)
    blueprint.init_app(app)
    endpoints.init_app(app)
    app.register_blueprint(backchannel.bp)
    app.register_blueprint(health.bp)
    app.register_blueprint(docs.bp)
    openapi.init_app(app)
    cors.init_app(app, config)
    response.init_app(app)
    path_prefix.init_app(app, config)
    observation.init_app(app, config)  # after path_prefix, which wraps the application, too
    cli.init_app(app, config)
    return app


def _configure_log(config: Config) -> None:
    """Write the service's log from its level on to stderr, unless the process has handlers of its own.

    Without a handler Python writes warnings and errors only. The pool's log has warnings and errors at any level: its
    information quotes exceptions. (SQLAlchemy names it like a module here.)
    """
    log = logging.getLogger(__name__)
    log.setLevel(config.log_level)
    logging.getLogger(f"{pool.__name__}.{pool.Pool.__name__}").setLevel(max(log.level, logging.WARNING))
    if config.log_format == "json":
        log_format.use_json()
    elif not log.handlers:
        handler = logging.StreamHandler()
        handler.addFilter(lambda _: not logging.getLogger().handlers)
        log.addHandler(handler)
