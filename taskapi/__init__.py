"""taskapi: a task service behind Better Auth, where a valid token opens exactly one user's tasks."""

from __future__ import annotations

import logging
import os

from flask import Flask

from . import cli, cors, db, docs, errors, health, limits, openapi, response
from .application import Application
from .auth import backchannel, hook
from .config import Config
from .request import MAX_BODY_BYTES
from .tasks import answers, routes, routes_data


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
    db.init_app(app, config)
    hook.init_app(app, config)
    limits.init_app(app, config)
    answers.init_app(app)
    app.register_blueprint(routes.bp)
    app.register_blueprint(routes_data.bp)
    app.register_blueprint(backchannel.bp)
    app.register_blueprint(health.bp)
    app.register_blueprint(docs.bp)
    openapi.init_app(app)
    cors.init_app(app, config)
    response.init_app(app)
    cli.init_app(app, config)
    return app
