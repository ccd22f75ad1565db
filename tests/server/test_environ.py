"""EnvironFactory makes the environ that gunicorn makes, with FastResponse as the response."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskapi.server.deadline_socket import DeadlineSocket
from taskapi.server.environ import EnvironFactory
from taskapi.server.parser import FastParser
from taskapi.server.response import FastResponse
from tests.server.connections import CONFIG, GET, OTHER_PEER, TRUSTED_PEER, Connection, config, request

TCP, UNIX = ("127.0.0.1", 8000), "/run/taskapi.sock"
PROXIED_PEER = ("10.0.0.1", 1)
PROXY_LINE = {
    "proxy_protocol": "TCP4",
    "client_addr": "1.2.3.4",
    "client_port": 5,
    "proxy_addr": "6.7.8.9",
    "proxy_port": 10,
}


CONFIGS = {names: config(forwarder_headers=names) for names in ("", "SCRIPT_NAME,PATH_INFO", "SCRIPT_NAME")}


def gunicorn_create(cfg: Any) -> Any:
    return lambda request, connection, client, server: wsgi.create(request, connection, client, server, cfg)


def create_environ(parser: RequestParser, create: Any, client: Any, server: Any) -> Any:
    """Return the environ, the body, what was sent at once, and the response's class; or the error's class and text."""
    connection = Connection()
    try:
        parsed = next(parser)
        if client == PROXIED_PEER:
            parsed.proxy_protocol_info = PROXY_LINE
        response, environ = create(parsed, connection, client, server)
        body = environ.pop("wsgi.input").read()
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)
    assert environ.pop("gunicorn.socket") is connection
    assert hasattr(environ.pop("wsgi.errors"), "write")
    environ.pop("wsgi.early_hints", None)  # not offered by FastResponse
    environ["wsgi.multithread"] = True  # set by gunicorn's workers, not by create
    if environ.get("CONTENT_LENGTH") == "0":
        del environ["CONTENT_LENGTH"]  # EnvironFactory adds it
    return environ, body, connection.sent, type(response)


@settings(max_examples=400)
@given(
    data=request,
    client=st.sampled_from([TRUSTED_PEER, OTHER_PEER, OTHER_PEER, "", PROXIED_PEER]),
    server=st.sampled_from([TCP, TCP, UNIX, "a:1", ("::1", 8000, 0, 0)]),
    forwarder_headers=st.sampled_from(["", "SCRIPT_NAME,PATH_INFO"]),
    script_name=st.sampled_from([None, None, "", "/a"]),
)
@example(b"GET /a HTTP/1.1\r\nX-A: 1\r\nX-a: 2\r\nX-A: 3\r\n\r\n", TRUSTED_PEER, TCP, "", None)
@example(b"GET /a%20%ff?b=%20c HTTP/1.1\r\nHost: x\r\nContent-Type: a\r\n\r\n", TRUSTED_PEER, TCP, "", None)
@example(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", TRUSTED_PEER, TCP, "", None)
@example(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", TRUSTED_PEER, TCP, "", None)
@example(b"GET /a/b HTTP/1.1\r\nSCRIPT_NAME: /a\r\n\r\n", TRUSTED_PEER, TCP, "SCRIPT_NAME", None)
@example(b"GET /a/b HTTP/1.1\r\n\r\n", TRUSTED_PEER, TCP, "", "/a")
@example(b"GET /b HTTP/1.1\r\n\r\n", TRUSTED_PEER, TCP, "", "/a")
def test_an_environ_equals_gunicorns(
    data: bytes, client: Any, server: Any, forwarder_headers: str, script_name: str | None
):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SCRIPT_NAME", raising=False)
        if script_name is not None:
            patch.setenv("SCRIPT_NAME", script_name)
        cfg = CONFIGS[forwarder_headers]
        parser = RequestParser(cfg, Connection(data), client)
        expected = create_environ(parser, gunicorn_create(cfg), client, server)
        factory = EnvironFactory(cfg)
        for _ in range(2):
            fast_parser = FastParser(cfg, DeadlineSocket(Connection(data), 1), client)
            actual = create_environ(fast_parser, factory.create, client, server)
            assert actual[:3] == expected[:3]
            assert actual[3:] == (FastResponse,) * len(expected[3:])
            if len(actual) == 4:
                actual[0].clear()  # must not change the environ of the next request


@pytest.mark.parametrize(
    ("header", "length"),
    [("X-A: 1", "0"), ("Content-Length: 0", "0"), ("Content-Length: 3", "3"), ("Transfer-Encoding: chunked", None)],
)
def test_a_request_without_a_body_has_the_content_length_0(header: str, length: str | None):
    data = f"PATCH /a HTTP/1.1\r\n{header}\r\n\r\nabc".encode()
    parser = FastParser(CONFIG, DeadlineSocket(Connection(data), 1), TRUSTED_PEER)
    _, environ = EnvironFactory(CONFIG).create(next(parser), Connection(), TRUSTED_PEER, TCP)
    assert environ.get("CONTENT_LENGTH") == length


def test_wsgi_errors_writes_to_the_reopened_log_file(monkeypatch: pytest.MonkeyPatch):
    log = logging.getLogger("gunicorn.error")
    first, second = logging.StreamHandler(io.StringIO()), logging.StreamHandler(io.StringIO())
    parsed = next(FastParser(CONFIG, DeadlineSocket(Connection(GET), 1), TRUSTED_PEER))
    errors = EnvironFactory(CONFIG).create(parsed, Connection(), TRUSTED_PEER, TCP)[1]["wsgi.errors"]
    written = []
    monkeypatch.setattr(CONFIG.settings["errorlog"], "value", "/dev/null")
    for handler in (first, second):
        monkeypatch.setattr(log, "handlers", [handler])
        errors.write("oh\n")
        errors.writelines(["no\n"])
        errors.flush()
        written.append(handler.stream.getvalue())
    assert written == ["oh\nno\n", "oh\nno\n"]
