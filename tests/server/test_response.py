"""FastResponse sends the bytes that gunicorn's Response sends, with fewer system calls and without copies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskapi.server.response import MAX_JOINED_BYTES, FastResponse, _date_line
from tests.server.connections import CONFIG, GET, OTHER_PEER, Connection

header_names = st.sampled_from(
    [
        *("Content-Type", "content-length", "Content-Length", "ETag", "X-A", "Connection", "Upgrade"),
        *("Transfer-Encoding", "Keep-Alive", "", "Bad Name", "X\r\n-B", "H\u00f6st", b"X", 3),
    ]
)
header_values = st.sampled_from(
    [
        *("0", "3", "5", "text/plain", "a\r\nB: c", "a\nb", "\u00ff", "\u20ac", " x ", "upgrade", "websocket", ""),
        *(b"x", None, 3),
    ]
)
any_headers = st.lists(st.tuples(header_names, header_values), max_size=4)
valid_headers = st.lists(
    st.tuples(st.sampled_from(["Content-Type", "ETag", "X-A"]), st.sampled_from(["text/plain", " x ", "\u00ff"])),
    max_size=4,
)
content_length = st.sampled_from([[], [("Content-Length", "0")], [("Content-Length", "3")], [("Content-Length", "5")]])


def make(kind: type[wsgi.Response], connection: Connection, head: bytes = GET) -> Any:
    """Return a response of this class to a request with this head."""
    return kind(next(RequestParser(CONFIG, Connection(head), OTHER_PEER)), connection, CONFIG)


def write(kind: type[wsgi.Response], head: bytes, status: Any, headers: Any, body: list[Any], *, closes: bool) -> Any:
    """Send a response; return the bytes sent, the state of the response afterwards, and the error."""
    connection = Connection()
    response = make(kind, connection, head)
    if closes:
        response.force_close()
    error = None
    try:
        response.start_response(status, headers)
        for piece in body:
            response.write(piece)
        response.close()
    except Exception as raised:  # noqa: BLE001
        error = type(raised), str(raised)
    should_close = response.should_close() if error is None else None
    if isinstance(response, FastResponse) and error is None:
        assert response.announces_close == should_close
    return b"".join(connection.sent), response.headers, response.headers_sent, response.sent, should_close, error


@pytest.fixture(autouse=True)
def _constant_date(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(util, "http_date", lambda _second=None: "now")
    _date_line.cache_clear()
    yield
    _date_line.cache_clear()


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """Silence gunicorn's warnings of a body in a response that must not have one."""
    log = logging.getLogger("gunicorn.http.wsgi")
    log.disabled = True
    yield
    log.disabled = False


@settings(max_examples=500)
@given(
    head=st.sampled_from(
        [
            *(GET, GET, b"HEAD / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"),
            *(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        ]
    ),
    status=st.sampled_from(
        ["200 OK", "200 OK", "304 NOT MODIFIED", "204 NO CONTENT", "100 Continue", "200", "x", "2 0", "200 a\r\nb"]
    ),
    headers=st.one_of(any_headers, st.tuples(valid_headers, content_length).map(lambda both: both[0] + both[1])),
    body=st.lists(st.sampled_from([b"", b"abc", b"defgh", "text"]), max_size=3),
    closes=st.booleans(),
)
@example(GET, "200 OK", [("X-A", "a\r\nB: c")], [b""], False)
@example(GET, "200 OK", [("X-A", "a\nX-B: c")], [b""], False)
@example(GET, "200 OK", [("X-A", b"b"), ("X-B", "c")], [b""], False)
@example(GET, "200 OK", [("X-A", "b"), (3, "c")], [b""], False)
@example(GET, "200 OK", [("X-A", "b")], [b"abc", b"", b"defgh"], False)
@example(GET, "200 OK", [("Content-Length", "5")], [b"abc", b"defgh"], False)
@example(b"HEAD / HTTP/1.1\r\n\r\n", "200 OK", [("Content-Length", "5")], [b"abc"], False)
def test_a_response_has_the_bytes_of_gunicorns(head: bytes, status: Any, headers: Any, body: list[Any], closes: Any):
    expected = write(wsgi.Response, head, status, headers, body, closes=closes)
    actual = write(FastResponse, head, status, headers, body, closes=closes)
    if expected[-1] is not None and expected[2]:
        # An error after the headers: ours are still buffered. The connection is closed in both cases.
        assert expected[0].startswith(actual[0])
        expected, actual = expected[1:], actual[1:]
    assert actual == expected


def test_headers_and_first_piece_of_the_body_are_sent_together():
    connection = Connection()
    response = make(FastResponse, connection)
    response.start_response("200 OK", [("Content-Length", "6")])
    response.write(b"abc")
    response.write(b"def")
    response.close()
    first, second = connection.sent
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (first[-7:], second) == (b"\r\n\r\nabc", b"def")


def test_a_file_is_sent_behind_the_headers(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abcdef")
    connection = Connection()
    response = make(FastResponse, connection)
    response.start_response("200 OK", [("Content-Length", "6")])
    with (tmp_path / "x").open("rb") as file:
        response.write_file(wsgi.FileWrapper(file, 3))
    response.close()
    assert b"".join(connection.sent).endswith(b"\r\n\r\nabcdef")


@pytest.mark.parametrize("framing", [[("Content-Length", str(MAX_JOINED_BYTES + 1))], []], ids=["length", "chunked"])
def test_a_large_response_is_sent_without_a_copy_of_it(framing: list[Any]):
    class Recording(Connection):
        def sendall(self, data: bytes) -> None:
            sent.append(data)

    sent: list[bytes] = []
    body = b"x" * (MAX_JOINED_BYTES + 1)
    response = make(FastResponse, Recording())
    response.start_response("200 OK", framing)
    response.write(body)
    response.close()
    assert sum(piece is body for piece in sent) == 1
    assert all(piece is body or len(piece) < 500 for piece in sent)
    content = b"".join(sent).partition(b"\r\n\r\n")[2]
    assert content == (body if framing else b"10001\r\n" + body + b"\r\n0\r\n\r\n")
