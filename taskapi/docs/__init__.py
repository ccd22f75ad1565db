"""Pages for people: the API to read and try at `/docs`, and what each problem means at `/problems/<code>`."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, send_from_directory

from ..http.errors import CATALOGUE

ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js")
"""What is served of the package `flask-swagger-ui`: no page of ours asks another host for anything."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts of our own only; Swagger UI styles its elements inline."""

bp = Blueprint("docs", __name__, template_folder="templates", static_folder="static", static_url_path="/docs/static")


@bp.get("/docs", strict_slashes=False)
def index() -> str:
    """The API to read and to try."""
    return render_template("docs.html")


@bp.get("/docs/swagger/<name>")
def asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in ASSETS:
        abort(404)
    with as_file(files("flask_swagger_ui") / "dist") as folder:
        return send_from_directory(Path(folder), name, max_age=86_400)


@bp.get("/problems/<code>")
def problem(code: str) -> str:
    """What a problem means: where the `type` of every error body leads."""
    if code not in CATALOGUE:
        abort(404)
    # Every second piece stood between backticks.
    remedy = list(enumerate(CATALOGUE[code].remedy.split("`")))
    return render_template("problem.html", problem=CATALOGUE[code], remedy=remedy)


@bp.after_request
def protect(response: Response) -> Response:
    """Let a page run nothing but our own scripts, in no frame."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
