"""Commands of `flask`: `db` (migrations), `purge`, `restored`, `distribute`, `openapi`; `token` for development."""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import quote

import click
import jwt
from flask import Flask, current_app
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from .auth.claims import InvalidToken, subject
from .config.settings import Config
from .config.shared_secrets import DEVELOPMENT_SECRET
from .database.base import MIGRATIONS, db, now
from .database.distribution import CannotDistribute, distribute
from .database.failures import DatabaseUnavailable, operator_message
from .docs import openapi
from .operations import health, purge, restore

DAY = 86_400


def init_app(app: Flask, config: Config) -> None:
    """Register the commands `db`, `purge`, `restored`, `distribute`, `openapi` and `token`."""
    app.cli.add_command(_LazyMigrations(app))
    app.cli.command("purge")(_purge)
    app.cli.command("restored")(_restored)
    app.cli.command("distribute")(_distribute)

    @app.cli.command("openapi")
    def print_openapi() -> None:
        """Print the OpenAPI document as JSON, for client generators."""
        click.echo(openapi.document(app, config.url_prefix))

    @app.cli.command("token")
    @click.argument("user_id")
    @click.option("--days", default=7, show_default=True, type=click.IntRange(1, 365), help="Lifetime of the token.")
    @click.option("--curl", is_flag=True, help="Print a curl command with the token instead.")
    def token(user_id: str, *, days: int, curl: bool) -> None:
        """Print a token for USER_ID with the configured issuer and audience; only with the development secret."""
        if not config.is_development:
            raise click.ClickException(
                "only with the development secret of .flaskenv; otherwise Better Auth issues the tokens"
            )
        issued = int(time.time())
        claims = {"sub": user_id, "iat": issued, "exp": issued + days * DAY}
        try:
            subject(claims)
        except InvalidToken as error:
            raise click.ClickException(str(error)) from error
        if config.issuer:
            claims["iss"] = config.issuer
        if config.audience:
            claims["aud"] = config.audience
        encoded = jwt.encode(claims, DEVELOPMENT_SECRET, "HS256")
        click.echo(f'curl -H "Authorization: Bearer {encoded}" {_tasks_url(user_id)}' if curl else encoded)


class _LazyMigrations(click.Command):
    """Placeholder of `flask db`; Flask-Migrate, which loads Alembic, replaces it when the command runs.

    A server, which never runs it, does not load Alembic.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__("db", short_help="Perform database migrations.")
        self._app = app

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Load Flask-Migrate and Alembic, replace this placeholder by their `db` group, and return its context."""
        from flask_migrate import Migrate  # noqa: PLC0415

        Migrate(self._app, db, directory=str(MIGRATIONS), render_as_batch=True, compare_type=True)
        return self._app.cli.commands["db"].make_context(info_name, args, parent, **extra)


def _restored() -> None:
    """Finish the restore of a backup: run it once, after `flask db upgrade`, before the service starts.

    Gives all users new versions, task ids and sync tokens, so that clients notice that later changes are gone. Prints
    the setting that refuses tokens of sessions whose end is not in the backup.
    """
    try:
        users = restore.finish_restore()
    except DBAPIError as error:
        message = operator_message(error)
        if message is None:
            raise
        raise click.ClickException(message) from None
    at = now().isoformat(timespec="seconds").replace("+00:00", "Z")
    click.echo(f"{users} users: new versions, task ids and sync tokens")
    click.echo(f"Until all tokens of now have expired, start the service with JWT_NOT_BEFORE={at}")


def _purge() -> None:
    """Delete content of tasks deleted 30 days ago, tombstones and erased users after 90, expired keys and sessions.

    Run it daily. Prints the number of each kind: the keys are idempotency keys, the sessions ended ones. After a change
    of the text folding it also folds what older code has written. Exits with status 1 if the purge of a user or of a
    kind of data failed; the others are purged.
    """
    _require_migrated()
    report = purge.purge_all()
    removed = report.removed
    click.echo(
        f"{removed['emptied']} tasks emptied; {removed['tombstones']} tombstones, {removed['keys']} idempotency keys,"
        f" {removed['sessions']} ended sessions and {removed['erased']} erased users removed"
    )
    if removed["refolded"]:
        click.echo(f"{removed['refolded']} tasks that older code had written folded again for search")
    if report.failures:
        raise click.ClickException(f"{report.failures} purges failed and are left for the next run; see the log")


@click.option("--shards", default=32, show_default=True, type=click.IntRange(1, 1024), help="Parts of each table.")
def _distribute(shards: int) -> None:
    """Distribute the migrated database over the nodes of a Citus cluster, with the rows that it has.

    Run it once, with MIGRATION_DATABASE_URL, and again after nothing or a failure: tables that are distributed stay as
    they are. Writes wait meanwhile. The number of shards is the maximum of nodes, and cannot be changed later without
    copying all rows.
    """
    _require_migrated()
    if db.engine.dialect.name == "sqlite":
        raise click.ClickException("only PostgreSQL with Citus can be distributed, not SQLite. Set DATABASE_URL.")
    url = make_url(current_app.config["MIGRATION_DATABASE_URL"] or current_app.config["SQLALCHEMY_DATABASE_URI"])
    try:
        with db.engine.connect() as connection:
            role = connection.execute(text("SELECT current_user")).scalar_one()
        done = distribute(url, role, shards)
    except CannotDistribute as error:
        raise click.ClickException(str(error)) from None
    except DBAPIError as error:
        message = operator_message(error)
        if message is None:
            raise
        raise click.ClickException(message) from None
    tables = ", ".join(done.converted)
    click.echo(f"distributed over {done.nodes} nodes: {tables}" if tables else "nothing changed: already distributed")


def _require_migrated() -> None:
    """Raise ClickException, for an error of one line, if the database cannot be used or is not migrated."""
    try:
        problem = health.migration_problem()
    except DatabaseUnavailable as error:
        problem = operator_message(error)
    if problem:
        raise click.ClickException(problem)


def _tasks_url(user_id: str) -> str:
    """Return the URL of a user's tasks on the development server, whose port is FLASK_RUN_PORT or 5000."""
    port = os.environ.get("FLASK_RUN_PORT", "5000")  # the variable that `flask run` reads
    return f"http://127.0.0.1:{port}/api/{quote(user_id, safe='')}/tasks"
