"""nginx in front of the service, as Debian installs it: several sites, each with another way to pass requests on."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import token
from tests.gunicorn_server import CLIENT_TIMEOUT, ServerResponse, stopping
from tests.ports import reserved_port
from tests.waiting import until

PREFIX = "/tasks-api"

COMPRESSION = """
    gzip on;
    gzip_proxied any;
    gzip_types application/json application/problem+json text/csv text/calendar application/javascript text/css;
"""

OWN_DEFAULTS = ""
"""HTTP/1.0 to the service, a connection for each request, and buffered requests and responses."""

KEEP_ALIVE_UNBUFFERED = """
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
"""

FORWARDED_PREFIX = f"""
            proxy_set_header X-Forwarded-Prefix {PREFIX};
"""


@dataclass(frozen=True)
class Site:
    """How nginx passes the requests below `PREFIX` to the service at a port."""

    port_of_service: int
    strips: bool
    """Whether it removes the prefix from the path."""
    directives: str = OWN_DEFAULTS
    port_of_frontend: int | None = None
    """If not None, all other requests are passed to the frontend at this port."""


@dataclass(frozen=True)
class Proxy:
    """Client of a site of nginx."""

    port: int

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "alice",
        headers: Mapping[str, str] | None = None,
    ) -> ServerResponse:
        """Send a request with the user's token, and accept a compressed response; a body that is not bytes is JSON."""
        sent = {"Authorization": f"Bearer {token(user)}", "Accept-Encoding": "gzip", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=CLIENT_TIMEOUT)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            content = response.read()
        if response.headers["Content-Encoding"] == "gzip" and content:
            content = gzip.decompress(content)
        return ServerResponse(response.status, response.headers, content)

    def get(self, path: str, **options: Any) -> ServerResponse:
        return self.send("GET", path, **options)


@contextmanager
def nginx(folder: Path, sites: Sequence[Site]) -> Iterator[list[Proxy]]:
    """Run nginx with these sites until the context ends; yield a client of each."""
    with ExitStack() as stack:
        ports = [stack.enter_context(reserved_port()) for _ in sites]
        config = folder / "nginx.conf"
        config.write_text(_configuration(folder, dict(zip(ports, sites, strict=True))))
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [_program(), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        stack.enter_context(stopping(process))
        for port in ports:
            until(lambda port=port: _listens(process, port, folder), otherwise="nginx did not start")
        yield [Proxy(port) for port in ports]


def require_nginx() -> None:
    """Skip the test without nginx; on CI, which must have it, fail."""
    if shutil.which("nginx", path=_PATH) is None:
        assert not os.environ.get("CI"), "nginx is missing: the service behind a proxy was not tested"
        pytest.skip("nginx is not installed: the service behind a proxy is not tested")


_PATH = f"{os.environ['PATH']}:/usr/sbin"


def _program() -> str:
    program = shutil.which("nginx", path=_PATH)
    assert program
    return program


def _listens(process: subprocess.Popen[bytes], port: int, folder: Path) -> bool:
    log = (folder / "output").read_text() + (folder / "error.log").read_text() if process.poll() is not None else ""
    assert process.poll() is None, f"nginx ended: {log}"
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
            connection.request("GET", f"{PREFIX}/healthz")
            return connection.getresponse().status in (200, 502)  # 502: the service does not run yet
    except OSError:
        return False


def _configuration(folder: Path, sites: Mapping[int, Site]) -> str:
    paths = "\n".join(
        f"    {name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    servers = "\n".join(_server(port, site) for port, site in sites.items())
    # One process: a master that root started would give its workers another user, who cannot read the folder.
    return f"""
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
{paths}
    access_log off;
    client_max_body_size 20m;
{COMPRESSION}
{servers}
}}
"""


def _server(port: int, site: Site) -> str:
    # With a path, here "/", proxy_pass replaces the location's part of the path; without one it passes all of it on.
    target = f"http://127.0.0.1:{site.port_of_service}" + ("/" if site.strips else "")
    return f"""
    server {{
        listen 127.0.0.1:{port};
{_frontend(site.port_of_frontend) if site.port_of_frontend else ""}
        location {PREFIX}/ {{
            proxy_pass {target};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
{site.directives}
        }}
    }}
"""


def _frontend(port: int) -> str:
    return f"""
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
"""
