"""Frontend, API and their databases, each with its production settings, on ports of 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import gunicorn_server
from tests.conftest import SECRET, migrate
from tests.e2e import frontend
from tests.nginx import PREFIX, Site, nginx
from tests.pgbouncer import pgbouncer
from tests.ports import reserved_port
from tests.postgres import as_owner, new_database


@dataclass
class Stack:
    """One configuration of frontend and API; a test may stop the API and start it again."""

    mode: str
    """TOKEN_MODE of the frontend: `shared-secret` or `key-pair`."""
    url: str
    """URL of the frontend."""
    api_url: str
    """URL of the API, with the path prefix if it is behind nginx."""
    api_port: int
    log: Path
    """Output of the frontend."""
    database_url: str = field(repr=False)
    """Database of the API."""
    _api_settings: dict[str, str] = field(repr=False)
    _api: ExitStack = field(default_factory=ExitStack, repr=False)

    def start_api(self) -> None:
        """Start gunicorn with two workers on `api_port`."""
        self._api.enter_context(gunicorn_server.serve(self.database_url, port=self.api_port, **self._api_settings))

    def stop_api(self) -> None:
        """Stop the API; its port stays reserved."""
        self._api.close()


@contextmanager
def run(
    mode: str, dialect: str, folder: Path, postgresql_server: str, *, behind_nginx: bool = False, **settings: str
) -> Iterator[Stack]:
    """Start frontend and API with new databases; `settings` are environment variables of the frontend.

    Behind nginx both have one origin, the API below a path prefix, and PgBouncer is in front of its PostgreSQL.
    """
    with ExitStack() as databases:
        if dialect == "sqlite":
            database_url, auth_database_url = f"sqlite:///{folder}/taskapi.db", f"file:{folder}/auth.db"
        else:
            database_url, owned = (databases.enter_context(new_database(postgresql_server)) for _ in range(2))
            auth_database_url = as_owner(owned).replace("+psycopg", "")
        migrate(database_url)
        if behind_nginx:
            database_url = databases.enter_context(pgbouncer(database_url, "transaction")).url
        with (
            reserved_port() as port,
            reserved_port() as api_port,
            _urls(port, api_port, folder, behind_nginx=behind_nginx) as (url, api_url),
        ):
            api_settings = _api_settings(mode, url) | ({"URL_PREFIX": PREFIX} if behind_nginx else {})
            stack = Stack(mode, url, api_url, api_port, folder, database_url, api_settings)
            with _run(stack, port, auth_database_url, settings):
                yield stack


@contextmanager
def _urls(port: int, api_port: int, folder: Path, *, behind_nginx: bool) -> Iterator[tuple[str, str]]:
    """Yield the URLs of the frontend and the API at these ports, or of nginx, which runs until the context ends."""
    # A browser takes 127.0.0.1 and localhost for two sites, and Node.js connects to different addresses: use one name.
    if not behind_nginx:
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api_port}"
        return
    with nginx(folder, [Site(api_port, True, port_of_frontend=port)]) as (proxy,):
        url = f"http://127.0.0.1:{proxy.port}"
        yield url, url + PREFIX


@contextmanager
def _run(stack: Stack, port: int, auth_database_url: str, settings: dict[str, str]) -> Iterator[None]:
    environ = {
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": stack.url,
        "API_URL": stack.api_url,
        "AUTH_DATABASE_URL": auth_database_url,
        "TOKEN_MODE": stack.mode,
        # All users of the tests have one IP address.
        "AUTH_RATE_LIMIT": "off",
        **settings,
    }
    with frontend.serve(port, **environ) as stack.log, stack._api:
        stack.start_api()
        yield


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
