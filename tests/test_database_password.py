"""No password of a database in start-up errors, logs, responses and the output of commands, however it is given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from sqlalchemy import make_url

from taskapi.config.settings import Config, ConfigError
from taskapi.database.base import db
from tests.conftest import SECRET, serving
from tests.pgbouncer import PgBouncer, pgbouncer

PASSWORD = "hünter2/ @?#%:&=+"
"""It has every character that has a meaning in a URL."""

FRAGMENTS = ("nter2", quote("hünter2"), "%40%3F", "@?#", ":&=")
"""Parts of it, as it is and percent-encoded."""

ENCODED = quote(PASSWORD, safe="")

SPELLINGS = {
    "before the host": (f"postgresql://taskapi_service:{ENCODED}@127.0.0.1:{{port}}/{{name}}", {}),
    "before several hosts": (f"postgresql://taskapi_service:{ENCODED}@127.0.0.1:{{port}},[::1]:1/{{name}}", {}),
    "as a parameter": (f"postgresql://taskapi_service@127.0.0.1:{{port}}/{{name}}?password={ENCODED}", {}),
    "with hosts as parameters": (
        f"postgresql+psycopg://taskapi_service:{ENCODED}@/{{name}}?host=127.0.0.1&port={{port}}",
        {},
    ),
    "PGPASSWORD": ("postgres://taskapi_service@127.0.0.1:{port}/{name}", {"PGPASSWORD": PASSWORD}),
    # Not encoded: such a URL cannot be read as it is meant.
    "with @": ("postgresql://taskapi_service:p@hünter2@127.0.0.1:{port}/{name}", {}),
    "with @ and /": ("postgresql://taskapi_service:p@ss/hünter2@127.0.0.1:{port}/{name}", {}),
    "with @ and ?": ("postgresql://taskapi_service:p@ss/x?hünter2=@127.0.0.1:{port}/{name}", {}),
    "with @, : and #": ("postgresql://taskapi_service:p@ss:hünter2#@127.0.0.1:{port}/{name}", {}),
    "of a misspelled scheme": ("postgre://taskapi_service:hünter2@127.0.0.1:{port}/{name}", {}),
    "of a misspelled parameter": ("postgresql://taskapi_service@127.0.0.1:{port}/{name}?passwd=hünter2", {}),
    "without a host": ("postgresql://:hünter2@:port/{name}", {}),
}


def reveals(text: str) -> list[str]:
    """Return the parts of the password in a text."""
    return [fragment for fragment in FRAGMENTS if fragment in text]


@pytest.fixture(scope="module")
def strict(postgresql_url: str) -> Iterator[PgBouncer]:
    """A server that demands a password, and has another one than the tests send."""
    with pgbouncer(postgresql_url, "session", auth_type="plain") as pooler:
        yield pooler


@pytest.fixture(params=["refused", "wrong password"])
def url(request: pytest.FixtureRequest, strict: PgBouncer, spelling: str) -> str:
    """A URL in a spelling, of a port where nothing listens, or of the server that demands another password."""
    target = make_url(strict.url)
    return spelling.format(name=target.database, port=1 if request.param == "refused" else target.port)


def shown_by_the_service(url: str) -> str:
    """Return what the service and its commands show, apart from the log, with a database that cannot be used."""
    settings = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "MIGRATION_DATABASE_URL": url}
    try:
        config = Config.from_env(settings)
    except ConfigError as error:
        return f"{error} {error!r} {error.__context__!r}"
    with serving(url, MIGRATION_DATABASE_URL=url) as app:
        response = app.test_client().get("/readyz")
        commands = [app.test_cli_runner().invoke(args=words) for words in (["db", "upgrade"], ["purge"])]
        assert response.status_code == 503
        for result in commands:
            assert result.exit_code == 1
            assert len(result.output.splitlines()) == 1
            assert result.output.startswith("Error: the database cannot be used: connection")
        return f"{response.text} {config!r} {db.engine.url} {db.engine!r} {[each.output for each in commands]}"


@pytest.mark.parametrize(("spelling", "environ"), SPELLINGS.values(), ids=SPELLINGS)
def test_no_password_is_shown(
    url: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    shown = shown_by_the_service(url)
    assert "taskapi cannot start" in shown or "database unavailable: " in caplog.text or "not ready: " in caplog.text
    assert not reveals(shown + caplog.text)


def test_the_server_that_demands_a_password_accepts_the_right_one(strict: PgBouncer):
    with serving(strict.url) as app:
        assert app.test_client().get("/readyz").status_code == 200
