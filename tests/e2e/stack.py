"""Browser, frontend, API and database together, each as in production, on ports of the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import gunicorn_server
from tests.conftest import SECRET, migrate
from tests.e2e import frontend
from tests.gunicorn_server import free_port
from tests.postgres import as_owner, new_database


@dataclass
class Stack:
    """One configuration that runs; the API can be taken away and brought back."""

    mode: str
    url: str
    """Where a person goes."""
    api_url: str
    log: Path
    """What the frontend has said."""
    database_url: str = field(repr=False)
    _api_settings: dict[str, str] = field(repr=False)
    _api: ExitStack = field(default_factory=ExitStack, repr=False)

    def start_api(self) -> None:
        """`gunicorn` with two workers on its own port."""
        port = int(self.api_url.rpartition(":")[2])
        self._api.enter_context(gunicorn_server.serve(self.database_url, port=port, **self._api_settings))

    def stop_api(self) -> None:
        self._api.close()


@contextmanager
def run(mode: str, dialect: str, folder: Path, postgresql_server: str, **settings: str) -> Iterator[Stack]:
    """Start everything on fresh databases; `settings` are the frontend's."""
    with ExitStack() as databases:
        if dialect == "sqlite":
            database_url, auth_database_url = f"sqlite:///{folder}/taskapi.db", f"file:{folder}/auth.db"
        else:
            database_url, owned = (databases.enter_context(new_database(postgresql_server)) for _ in range(2))
            auth_database_url = as_owner(owned).replace("+psycopg", "")
        migrate(database_url)
        yield from _run(mode, folder, database_url, auth_database_url, settings)


def _run(
    mode: str, folder: Path, database_url: str, auth_database_url: str, settings: dict[str, str]
) -> Iterator[Stack]:
    # 127.0.0.1 and localhost are two sites to a browser and two addresses to Node: one name everywhere.
    url, api_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    stack = Stack(mode, url, api_url, folder, database_url, _api_settings(mode, url))
    environ = {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": url,
        "API_URL": api_url,
        "AUTH_DATABASE_URL": auth_database_url,
        "TOKEN_MODE": mode,
        # All people of a test come from one address.
        "AUTH_RATE_LIMIT": "off",
        **settings,
    }
    with frontend.serve(int(url.rpartition(":")[2]), **environ) as stack.log, stack._api:
        stack.start_api()
        yield stack


def _api_settings(mode: str, url: str) -> dict[str, str]:
    keys = {"BETTER_AUTH_SECRET": "", "BETTER_AUTH_URL": url} if mode == "key-pair" else {}
    return {
        **keys,
        "JWT_ISSUER": url,
        "JWT_AUDIENCE": url,
        "JWT_MAX_LIFETIME": "7d",
        "CORS_ORIGINS": url,
        "RATE_LIMIT": "off",
        "WEB_CONCURRENCY": "2",
    }
