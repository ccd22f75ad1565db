"""taskapi: a task service behind Better Auth, where a valid token opens exactly one user's tasks."""

from __future__ import annotations

import logging
import os

from flask import Flask

from . import cli, docs
from .auth import backchannel, hook
from .config import Config
from .database import engine
from .docs import openapi
from .guard import rate_limit
from .http import cors, errors, response
from .http.request import MAX_BODY_BYTES
from .http.routing import Application
from .operations import health
from .tasks import endpoints


def create_app(config: Config | None = None) -> Flask:
    """Build the application from `config`, or from the environment (raises `ConfigError`)."""
    config = config or Config.from_env(os.environ)
    logging.getLogger(__name__).setLevel(config.log_level)

    app = Application(__name__, static_folder=None)
    app.config["REQUIRE_IF_MATCH"] = config.require_if_match
    app.config["MAX_TASKS_PER_USER"] = config.max_tasks_per_user
    # Whatever reads a body, of any method and at any address, reads no more; a view may accept more (request.py).
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # `//` in a path is not answered with a redirect, which would come before the token is looked at.
    app.url_map.merge_slashes = False

    errors.init_app(app)  # first: whatever fails from here on has its handler
    engine.init_app(app, config)
    hook.init_app(app, config)
    rate_limit.init_app(app, config)
    endpoints.init_app(app)
    app.register_blueprint(backchannel.bp)
    app.register_blueprint(health.bp)
    app.register_blueprint(docs.bp)
    openapi.init_app(app)
    cors.init_app(app, config)
    response.init_app(app)
    cli.init_app(app, config)
    return app
