"""Register the endpoints of all subpackages with the application."""

from __future__ import annotations

from flask import Flask

from . import blueprints, responses, routes
from .batch import routes as batch
from .listing import routes as listing
from .moves import routes as moves
from .stats import routes as stats
from .sync import routes as sync
from .transfer import routes as transfer
from .trash import routes as trash

ROUTES = (routes, listing, trash, moves, batch, sync, stats, transfer)
"""The modules that add views to the blueprints when they are imported."""


def init_app(app: Flask) -> None:
    """Register both blueprints, which have the views of `ROUTES`, and the error handlers of domain errors."""
    responses.init_app(app)
    app.register_blueprint(blueprints.tasks_bp)
    app.register_blueprint(blueprints.data_bp)
