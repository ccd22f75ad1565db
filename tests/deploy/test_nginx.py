"""deploy/nginx/nginx.conf, run by nginx: TLS, the API below its prefix, the frontend for all other paths."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import nginx
from tests.conftest import delete_all_rows, token
from tests.deploy.files import ROOT
from tests.gunicorn_server import CLIENT_TIMEOUT, ServerResponse, serve, stopping
from tests.ports import reserved_port
from tests.threaded_server import running
from tests.waiting import until

CONFIGURATION = ROOT / "deploy/nginx/nginx.conf"


class Frontend(BaseHTTPRequestHandler):
    """Responds with the request's path and headers, as JSON."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class Client:
    """HTTPS client that trusts the generated certificate and no other."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port, self.context = port, ssl.create_default_context(cafile=str(certificate))

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> ServerResponse:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=CLIENT_TIMEOUT, context=self.context)
        with closing(connection):
            connection.request(method, path, body, {"Authorization": f"Bearer {token('alice')}", **headers})
            response = connection.getresponse()
            return ServerResponse(response.status, response.headers, response.read())


@pytest.fixture(scope="module")
def client(
    sqlite_database_url: str, secrets_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    nginx.require_nginx()
    folder = tmp_path_factory.mktemp("nginx")
    settings = {"URL_PREFIX": "/tasks-api", "TRUSTED_PROXIES": "1", "WEB_CONCURRENCY": "1"}
    with (
        serve(sqlite_database_url, **settings) as api,
        running(ThreadingHTTPServer(("127.0.0.1", 0), Frontend)) as frontend_port,
        proxy(folder, secrets_folder / "tls", api.port, frontend_port) as port,
    ):
        yield Client(port, secrets_folder / "tls/tls.crt")
    delete_all_rows(sqlite_database_url)


@contextmanager
def proxy(folder: Path, tls: Path, api_port: int, frontend_port: int) -> Iterator[int]:
    """Run nginx with the shipped file, in which only addresses and paths are replaced."""
    program = shutil.which("nginx", path=nginx._PATH)
    assert program
    with reserved_port() as port:
        configuration = folder / "nginx.conf"
        configuration.write_text(adapted(folder, tls, port, api_port, frontend_port))
        command = [
            program,
            "-p",
            str(folder),
            "-c",
            str(configuration),
            "-e",
            "stderr",
            "-g",
            "daemon off; master_process off;",
        ]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        with stopping(process):
            until(lambda: listens(process, port, folder / "output"), otherwise="nginx did not start")
            yield port


def adapted(folder: Path, tls: Path, port: int, api_port: int, frontend_port: int) -> str:
    """Return the shipped file for this machine; each replacement must occur, as often as given."""
    replacements = [
        ("/tmp/", f"{folder}/", 6),
        ("/etc/nginx/tls/", f"{tls}/", 2),
        ("/dev/stderr", f"{folder}/error.log", 1),
        ("/dev/stdout", f"{folder}/access.log", 1),
        ("listen 8443 ", f"listen 127.0.0.1:{port} ", 1),
        ("api:8000", f"127.0.0.1:{api_port}", 1),
        ("frontend:3000", f"127.0.0.1:{frontend_port}", 1),
    ]
    text = CONFIGURATION.read_text()
    for old, new, times in replacements:
        assert text.count(old) == times, old
        text = text.replace(old, new)
    return text


def listens(process: subprocess.Popen[bytes], port: int, output: Path) -> bool:
    assert process.poll() is None, f"nginx ended: {output.read_text()}"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_task_is_created_through_tls_below_the_prefix(client: Client):
    created = client.send(
        "POST", "/tasks-api/api/alice/tasks", b'{"title": "Buy milk"}', **{"Content-Type": "application/json"}
    )
    assert (created.status, created.json["title"]) == (201, "Buy milk")
    location = created.headers["Location"]
    assert location == f"/tasks-api/api/alice/tasks/{created.json['id']}"
    assert client.send("GET", location).json == created.json


def test_another_user_and_no_token_are_refused_as_without_a_proxy(client: Client):
    assert client.send("GET", "/tasks-api/api/mallory/tasks").status == 403
    refused = client.send("GET", "/tasks-api/api/alice/tasks", Authorization="")
    assert (refused.status, refused.json["type"]) == (401, "/tasks-api/problems/unauthorized")


def test_all_other_paths_are_those_of_the_frontend_with_the_address_of_the_client(client: Client):
    spoofed = {"X-Real-IP": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/evil"}
    response = client.send("GET", "/sign-in?next=%2F", **spoofed)
    headers = response.json["headers"]
    assert response.json["path"] == "/sign-in?next=%2F"
    assert (headers["X-Real-IP"], headers["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert headers["Host"] == f"localhost:{client.port}"
    assert "X-Forwarded-Prefix" not in headers


def test_a_client_cannot_choose_the_prefix_of_the_urls(client: Client):
    document = client.send("GET", "/tasks-api/openapi.json", **{"X-Forwarded-Prefix": "/evil"}).json
    assert document["servers"] == [{"url": "/tasks-api"}]


@pytest.mark.parametrize("path", ["/tasks-api/readyz", "/tasks-api/backchannel-logout", "/healthz"])
def test_what_is_for_probes_and_the_frontend_is_not_public(client: Client, path: str):
    response = client.send("GET", path)
    assert response.status == 404
    assert b"nginx" in response.body


def test_liveness_of_the_api_is_reachable_for_the_health_check_of_nginx(client: Client):
    assert client.send("GET", "/tasks-api/healthz").json == {"status": "ok"}


def test_every_response_has_hsts_once(client: Client):
    for path in ("/tasks-api/api/alice/tasks", "/", "/tasks-api/readyz"):
        assert len(client.send("GET", path).headers.get_all("Strict-Transport-Security")) == 1, path


def test_the_largest_import_passes_and_a_larger_body_is_413(client: Client):
    limit = 16 * 1024 * 1024
    headers = {"Content-Type": "text/csv"}
    accepted = client.send("POST", "/tasks-api/api/alice/import", b"x" * limit, **headers)
    assert accepted.headers["Content-Type"] == "application/problem+json"  # the API's own refusal
    refused = client.send("POST", "/tasks-api/api/alice/import", b"x" * (limit + 1), **headers)
    assert (refused.status, refused.headers["Content-Type"]) == (413, "text/html")


def test_only_tls_1_2_and_newer_is_spoken(client: Client):
    with closing(client_socket(client, ssl.TLSVersion.TLSv1_3)) as connection:
        assert connection.version() == "TLSv1.3"
    assert re.findall(r"ssl_protocols (.*);", CONFIGURATION.read_text()) == ["TLSv1.2 TLSv1.3"]


def client_socket(client: Client, version: ssl.TLSVersion) -> ssl.SSLSocket:
    connection = http.client.HTTPConnection("localhost", client.port, timeout=CLIENT_TIMEOUT)
    connection.connect()
    client.context.minimum_version = version
    return client.context.wrap_socket(connection.sock, server_hostname="localhost")


def test_the_access_log_has_no_query_because_it_may_be_a_token(
    client: Client, tmp_path_factory: pytest.TempPathFactory
):
    client.send("GET", "/reset-password?token=secret-token")
    log = next(tmp_path_factory.getbasetemp().glob("nginx*/access.log"))
    until(lambda: "/reset-password" in log.read_text(), otherwise="the request is not in the log")
    assert "secret-token" not in log.read_text()
