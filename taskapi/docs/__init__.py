"""HTML pages: Swagger UI at `/docs`, and the explanation of each problem type at `/problems/<code>`."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, send_from_directory

from ..http.errors import CATALOGUE

ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js")
"""Files of the package `flask-swagger-ui` that are served, so that the pages load nothing from another host."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Allows scripts of this origin only; inline styles are allowed because Swagger UI uses them."""

bp = Blueprint("docs", __name__, template_folder="templates", static_folder="static", static_url_path="/docs/static")


@bp.get("/docs", strict_slashes=False)
def index() -> str:
    """Render the page with Swagger UI."""
    return render_template("docs.html")


@bp.get("/docs/swagger/<name>")
def asset(name: str) -> Response:
    """Send a file of Swagger UI, which may be cached for a day; 404 for a name that is not in `ASSETS`."""
    if name not in ASSETS:
        abort(404)
    with as_file(files("flask_swagger_ui") / "dist") as folder:
        return send_from_directory(Path(folder), name, max_age=86_400)


@bp.get("/problems/<code>")
def problem(code: str) -> str:
    """Render the explanation of a problem type; 404 for an unknown code.

    The `type` of an error body is the address of this page.
    """
    if code not in CATALOGUE:
        abort(404)
    # Every second part was in backticks, and is rendered as code.
    remedy = list(enumerate(CATALOGUE[code].remedy.split("`")))
    return render_template("problem.html", problem=CATALOGUE[code], remedy=remedy)


@bp.after_request
def add_security_headers(response: Response) -> Response:
    """Set Content-Security-Policy and Referrer-Policy of each response of this blueprint (after_request); return it."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
