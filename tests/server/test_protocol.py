"""HTTP on the wire: whatever gunicorn would read, refuse and write, this reads, refuses and writes."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn import http, util
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskapi.server import protocol
from taskapi.server.worker import DeadlineSocket

NEAR, FAR = ("127.0.0.1", 40_000), ("203.0.113.9", 40_000)
"""Of these gunicorn believes the first what it says of the way a request came."""


class Connection:
    """A socket from which these bytes come, some at a time, and which keeps what is sent."""

    def __init__(self, received: bytes = b"", size: int = 8192) -> None:
        self._received, self._size = io.BytesIO(received), size
        self.sent: list[bytes] = []

    def recv(self, size: int) -> bytes:
        return self._received.read(min(size, self._size))

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    sendall = send

    def settimeout(self, seconds: float | None) -> None: ...

    def setsockopt(self, *option: Any) -> None: ...

    def gettimeout(self) -> float | None: ...


def config(**changed: Any) -> Config:
    made = Config()
    for name, value in {"forwarder_headers": "", "limit_request_fields": 20, **changed}.items():
        made.set(name, value)
    return made


CONFIG = config()
SHORT = config(limit_request_fields=3, limit_request_field_size=40)


# Reading

NAMES = [
    *("Host", "host", "Authorization", "Accept", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection"),
    *(
        "Expect",
        "X-Forwarded-Proto",
        "X-Forwarded-Ssl",
        "X_Forwarded_Proto",
        "SCRIPT_NAME",
        "X-Request-Id",
        "",
        " Host",
    ),
    *("Host ", "H\u00f6st", "Bad Name", "Bad\tName", "(x)", "Trailer"),
]
VALUES = [
    *(
        "a.example",
        "keep-alive",
        "close",
        "Close",
        "upgrade",
        "chunked",
        "gzip, chunked",
        "identity",
        "0",
        "3",
        "-1",
        "+3",
    ),
    *(
        "100-continue",
        "https",
        "http",
        "on",
        "Bearer x.y.z",
        "text/plain",
        "",
        " \t ",
        "\u00ff",
        "a\x00b",
        "a\x7fb",
        "a\nb",
    ),
    *("a\rb", "x" * 60, "x" * 9000),
]
TWO = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
BROKEN = TWO.replace(b"Content-Length: 3\r\n\r\nabc", CHUNKED.replace(b"3\r\n", b"3x\r\n"))
separators = st.sampled_from([":", ": ", ":\t", " : ", "", "::"])
line = st.one_of(
    st.tuples(st.sampled_from(NAMES), separators, st.sampled_from(VALUES)).map("".join),
    st.tuples(st.sampled_from(NAMES[:8]), st.just(": "), st.sampled_from(VALUES)).map("".join),
    st.tuples(st.sampled_from(["X-A", "X-B"]), st.just(": "), st.text(st.characters(max_codepoint=255))).map("".join),
    st.sampled_from([" folded", "\tfolded: again", "no colon", ":", "\n", "X-A: b\nHost: c"]),
)
starts = st.sampled_from(
    ["GET /a?b=c HTTP/1.1", "POST / HTTP/1.1", "HEAD / HTTP/1.0", "CONNECT a:1 HTTP/1.1", "GET /\u00e4 HTTP/1.1"]
)
request = st.tuples(starts, st.lists(line, max_size=6), st.sampled_from(["", "abc", "3\r\nabc\r\n0\r\n\r\n"])).map(
    lambda parts: "\r\n".join([parts[0], *parts[1], "", parts[2]]).encode("latin-1")
)


def read(parser: type[RequestParser], cfg: Config, peer: tuple[str, int], data: bytes, taken: int, size: int) -> Any:
    """All that is read of a connection whose application takes so much of each body; the refusal is the last.

    A body that cannot be read is the application's affair, and no reason for it to end.
    """
    found: list[Any] = []
    requests = parser(cfg, DeadlineSocket(Connection(data, size), 1), peer)
    try:
        for each in requests:
            facts = each.method, each.uri, each.path, each.query, each.version, each.headers, each.scheme
            waits, closes = each._expected_100_continue, each.should_close()
            try:
                body = each.body.read(taken)
            except Exception as error:  # noqa: BLE001
                body = type(error), str(error)
            found.append((facts, waits, closes, body, each.trailers))
    except Exception as error:  # noqa: BLE001
        found.append((type(error), str(error)))
    return found


@settings(max_examples=1500, deadline=None)
@given(
    data=st.lists(request, min_size=1, max_size=3).map(b"".join),
    peer=st.sampled_from([NEAR, FAR, ""]),
    cfg=st.sampled_from([CONFIG, CONFIG, SHORT]),
    taken=st.sampled_from([0, 2, 100]),
    size=st.sampled_from([8192, 8192, 50]),
)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", NEAR, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n", NEAR, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n", FAR, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nExpect: more\r\n\r\n", FAR, CONFIG, 0, 8192)
@example(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\nHost: c\r\n\r\n", NEAR, CONFIG, 9, 8192)
@example(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 4 + b"\r\n", NEAR, SHORT, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-A: " + b"b" * 40 + b"\r\n\r\n", NEAR, SHORT, 0, 8192)
@example(BROKEN, NEAR, CONFIG, 9, 8192)
@example(BROKEN, NEAR, CONFIG, 9, BROKEN.index(b"GET"))  # what follows comes by itself
@example(TWO, NEAR, CONFIG, 0, 8192)
@example(TWO.replace(b"3\r\n\r\nabc", b"100000\r\n\r\n" + b"x" * 100_000), NEAR, CONFIG, 2, 8192)
@example(TWO.replace(b"3\r\n\r\nabc", b"100000\r\n\r\n" + b"x" * 90_000), NEAR, CONFIG, 0, 8192)
@example(TWO, NEAR, CONFIG, 2, 50)
@example(TWO, NEAR, CONFIG, 3, 8192)
@example(TWO.replace(b"Content-Length: 3\r\n\r\nabc", CHUNKED), NEAR, CONFIG, 2, 8192)
def test_a_connection_is_read_as_gunicorn_reads_it(
    data: bytes, peer: tuple[str, int], cfg: Config, taken: int, size: int
):
    expected = read(RequestParser, cfg, peer, data, taken, size)
    for _ in range(2):  # what is remembered says the same
        assert read(protocol.FastParser, cfg, peer, data, taken, size) == expected


class Flood(Connection):
    """From which more comes whenever somebody asks for it."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        super().__init__()
        self._waiting, self._piece, self.taken = head, piece, 0

    def recv(self, size: int) -> bytes:
        while len(self._waiting) < size:
            self._waiting += self._piece
        received, self._waiting = self._waiting[:size], self._waiting[size:]
        self.taken += size
        assert self.taken < 10 * protocol.MAX_DRAIN_BYTES
        return received


@pytest.mark.parametrize(
    ("framing", "piece"),
    [
        (b"Content-Length: 9999999999", b"x" * 100_000),
        (b"Transfer-Encoding: chunked", b"ffff\r\n" + b"x" * 65_535 + b"\r\n"),
    ],
    ids=["length", "chunks"],
)
def test_a_body_that_does_not_end_is_not_received_for_ever(framing: bytes, piece: bytes):
    flood = Flood(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n", piece)
    parser = protocol.FastParser(CONFIG, DeadlineSocket(flood, 1), NEAR)
    next(parser)
    with pytest.raises(StopIteration):
        next(parser)
    assert protocol.MAX_DRAIN_BYTES <= flood.taken < 3 * protocol.MAX_DRAIN_BYTES


def test_a_connection_can_be_closed_after_all():
    request = next(protocol.FastParser(CONFIG, DeadlineSocket(Connection(TWO), 1), NEAR))
    assert not request.should_close()
    request.force_close()
    assert request.should_close()


def test_a_line_that_is_remembered_is_judged_by_who_sends_it():
    data = b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    seen = [read(protocol.FastParser, CONFIG, peer, data, 0, 8192)[0][0][-1] for peer in (NEAR, FAR, NEAR)]
    assert seen == ["https", "http", "https"]


def test_a_long_line_is_not_kept():
    protocol._header_cache.clear()
    protocol._request_line_cache.clear()
    data = b"GET / HTTP/1.1\r\nX-A: b\r\nX-B: " + b"c" * protocol.MAX_CACHED_LINE + b"\r\n\r\n"
    assert [name for name, _ in read(protocol.FastParser, CONFIG, FAR, data, 0, 8192)[0][0][5]] == ["X-A", "X-B"]
    assert list(protocol._header_cache) == [b"X-A: b"]
    paths = "/a?b=c", "/" + "a" * protocol.MAX_CACHED_LINE, "/a?token=" + "c" * protocol.MAX_CACHED_QUERY
    for path in paths:
        assert read(protocol.FastParser, CONFIG, FAR, f"GET {path} HTTP/1.1\r\n\r\n".encode(), 0, 8192)[0][0][1] == path
    assert list(protocol._request_line_cache) == [b"GET / HTTP/1.1", b"GET /a?b=c HTTP/1.1"]


def test_no_credential_is_kept():
    protocol._header_cache.clear()
    secret = b"Authorization: Bearer c4n4ry\r\nauthorization:c4n4ry\r\nCookie: a=c4n4ry\r\nProxy-Authorization: c4n4ry"
    data = b"GET / HTTP/1.1\r\nX-A: b\r\n" + secret + b"\r\n\r\n"
    assert len(read(protocol.FastParser, CONFIG, FAR, data, 0, 8192)[0][0][5]) == 5
    assert list(protocol._header_cache) == [b"X-A: b"]


def test_no_more_lines_are_kept_than_there_is_room_for():
    protocol._header_cache.clear()
    for number in range(protocol.CACHE_ENTRIES + 10):
        read(protocol.FastParser, CONFIG, FAR, b"GET /%d HTTP/1.1\r\nX-A: %d\r\n\r\n" % (number, number), 0, 8192)
    assert len(protocol._header_cache) == len(protocol._request_line_cache) == protocol.CACHE_ENTRIES
    assert next(iter(protocol._header_cache)) == b"X-A: 10", "the oldest has gone"


# Writing

headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("Content-Type", "content-length", "Content-Length", "ETag", "X-A", "Connection", "Upgrade"),
                *("Transfer-Encoding", "Keep-Alive", "", "Bad Name", "X\r\n-B", "H\u00f6st", b"X", 3),
            ]
        ),
        st.sampled_from(
            [
                "0",
                "3",
                "5",
                "text/plain",
                "a\r\nB: c",
                "a\nb",
                "\u00ff",
                "\u20ac",
                " x ",
                "upgrade",
                "websocket",
                b"x",
                None,
                3,
                "",
            ]
        ),
    ),
    max_size=4,
)
plain = st.lists(
    st.tuples(st.sampled_from(["Content-Type", "ETag", "X-A"]), st.sampled_from(["text/plain", " x ", "\u00ff"])),
    max_size=4,
)
length = st.sampled_from([[], [("Content-Length", "0")], [("Content-Length", "3")], [("Content-Length", "5")]])


def write(kind: type[wsgi.Response], head: bytes, status: Any, lines: Any, body: list[Any], *, last: bool) -> Any:
    """What is sent of an answer, what is thought of it afterwards, and the refusal."""
    connection = Connection()
    request = next(iter(RequestParser(CONFIG, Connection(head), NEAR)))
    answer = kind(request, connection, CONFIG)
    if last:
        answer.force_close()
    refusal = None
    try:
        answer.start_response(status, lines)
        for piece in body:
            answer.write(piece)
        answer.close()
    except Exception as error:  # noqa: BLE001
        refusal = type(error), str(error)
    closes = answer.should_close() if refusal is None else None
    return b"".join(connection.sent), answer.headers, answer.headers_sent, answer.sent, closes, refusal


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "http_date", lambda: "now")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    log = logging.getLogger("gunicorn.http.wsgi")
    log.disabled = True  # it warns of a body where none may be
    yield
    log.disabled = False


@settings(max_examples=1500, deadline=None)
@given(
    head=st.sampled_from(
        [
            *(
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.1\r\n\r\n",
                b"HEAD / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.0\r\n\r\n",
            ),
            *(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        ]
    ),
    status=st.sampled_from(
        ["200 OK", "200 OK", "304 NOT MODIFIED", "204 NO CONTENT", "100 Continue", "200", "x", "2 0", "200 a\r\nb"]
    ),
    lines=st.one_of(headers, st.tuples(plain, length).map(lambda both: both[0] + both[1])),
    body=st.lists(st.sampled_from([b"", b"abc", b"defgh", "text"]), max_size=3),
    last=st.booleans(),
)
@example(b"GET / HTTP/1.1\r\n\r\n", "200 OK", [("X-A", "a\r\nB: c")], [b""], False)
@example(b"GET / HTTP/1.1\r\n\r\n", "200 OK", [("X-A", "b")], [b"abc", b"", b"defgh"], False)
@example(b"GET / HTTP/1.1\r\n\r\n", "200 OK", [("Content-Length", "5")], [b"abc", b"defgh"], False)
@example(b"HEAD / HTTP/1.1\r\n\r\n", "200 OK", [("Content-Length", "5")], [b"abc"], False)
def test_an_answer_is_written_as_gunicorn_writes_it(head: bytes, status: Any, lines: Any, body: list[Any], last: Any):
    theirs = write(wsgi.Response, head, status, lines, body, last=last)
    ours = write(protocol.FastResponse, head, status, lines, body, last=last)
    if theirs[-1] is not None and theirs[2]:
        # Refused when its head was under way: with us it is still there, and the connection is closed either way.
        assert theirs[0].startswith(ours[0])
        theirs, ours = theirs[1:], ours[1:]
    assert ours == theirs


def test_the_head_and_the_first_piece_go_together():
    connection = Connection()
    answer = protocol.FastResponse(
        next(iter(RequestParser(CONFIG, Connection(b"GET / HTTP/1.1\r\n\r\n"), NEAR))), connection, CONFIG
    )
    answer.start_response("200 OK", [("Content-Length", "6")])
    answer.write(b"abc")
    answer.write(b"def")
    answer.close()
    first, second = connection.sent
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (first[-7:], second) == (b"\r\n\r\nabc", b"def")


def test_a_file_comes_after_the_head(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abcdef")
    connection = Connection()
    request = next(iter(RequestParser(CONFIG, Connection(b"GET / HTTP/1.1\r\n\r\n"), NEAR)))
    answer = protocol.FastResponse(request, connection, CONFIG)
    answer.start_response("200 OK", [("Content-Length", "6")])
    with (tmp_path / "x").open("rb") as file:
        answer.write_file(wsgi.FileWrapper(file, 3))
    answer.close()
    assert b"".join(connection.sent).endswith(b"\r\n\r\nabcdef")


def test_what_a_client_does_not_take_at_once_is_sent_in_pieces():
    class Slow(Connection):
        def send(self, data: bytes) -> int:
            return super().send(data[:3])

        def sendall(self, data: bytes) -> None:
            while data:
                data = data[self.send(data) :]

    connection = Slow()
    DeadlineSocket(connection, 1).sendall(b"abcdefgh")
    assert connection.sent == [b"abc", b"def", b"gh"]


# What gunicorn is told to use


PATCHED = ((http, "RequestParser"), (wsgi, "create"), (util, "http_date"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in PATCHED:
        monkeypatch.setattr(place, name, getattr(place, name))  # put back afterwards
    protocol.install_fast_http()


TCP, UNIX = ("127.0.0.1", 8000), "/run/taskapi.sock"


def told_of(parser: RequestParser, client: Any, server: Any) -> Any:
    """What an application is told of the next request, how it is answered and what the client was told at once."""
    connection = Connection()
    try:
        request = next(parser)
        if client == PROXIED:
            request.proxy_protocol_info = PROXY
        answer, environ = wsgi.create(request, connection, client, server, CONFIG)
        body = environ.pop("wsgi.input").read()
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)
    assert environ.pop("gunicorn.socket") is connection
    errors = environ.pop("wsgi.errors")
    assert hasattr(errors, "write")
    environ.pop("wsgi.early_hints", None)  # which no answer of ours has
    return environ, body, connection.sent, type(answer)


PROXIED = ("10.0.0.1", 1)
PROXY = {
    "proxy_protocol": "TCP4",
    "client_addr": "1.2.3.4",
    "client_port": 5,
    "proxy_addr": "6.7.8.9",
    "proxy_port": 10,
}


@settings(max_examples=800, deadline=None)
@given(
    data=request,
    client=st.sampled_from([NEAR, FAR, FAR, "", PROXIED]),
    server=st.sampled_from([TCP, TCP, UNIX, "a:1", ("::1", 8000, 0, 0)]),
    forwarder=st.sampled_from(["", "SCRIPT_NAME,PATH_INFO"]),
    below=st.sampled_from([None, None, "", "/a"]),
)
@example(b"GET /a HTTP/1.1\r\nX-A: 1\r\nX-a: 2\r\nX-A: 3\r\n\r\n", NEAR, TCP, "", None)
@example(b"GET /a%20%ff?b=%20c HTTP/1.1\r\nHost: x\r\nContent-Type: a\r\n\r\n", NEAR, TCP, "", None)
@example(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", NEAR, TCP, "", None)
@example(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", NEAR, TCP, "", None)
@example(b"GET /a/b HTTP/1.1\r\nSCRIPT_NAME: /a\r\n\r\n", NEAR, TCP, "SCRIPT_NAME", None)
@example(b"GET /a/b HTTP/1.1\r\n\r\n", NEAR, TCP, "", "/a")
@example(b"GET /b HTTP/1.1\r\n\r\n", NEAR, TCP, "", "/a")
def test_an_application_is_told_what_gunicorn_would_tell_it(
    data: bytes, client: Any, server: Any, forwarder: str, below: str | None
):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SCRIPT_NAME", raising=False)
        if below is not None:
            patch.setenv("SCRIPT_NAME", below)
        cfg = config(forwarder_headers=forwarder)
        theirs = told_of(http.get_parser(cfg, Connection(data), client), client, server)
        for place, name in PATCHED:
            patch.setattr(place, name, getattr(place, name))  # put back afterwards
        protocol.install_fast_http()
        for _ in range(2):
            parser = http.get_parser(cfg, DeadlineSocket(Connection(data), 1), client)
            assert isinstance(parser, protocol.FastParser)
            ours = told_of(parser, client, server)
            assert ours[:3] == theirs[:3]
            assert ours[3:] == (protocol.FastResponse,) * len(theirs[3:])
            if len(ours) == 4:
                ours[0].clear()  # what one request is told is not the next one's


@pytest.mark.usefixtures("told")
def test_what_an_application_complains_of_goes_where_the_log_is_now(monkeypatch: pytest.MonkeyPatch):
    log = logging.getLogger("gunicorn.error")
    first, second = logging.StreamHandler(io.StringIO()), logging.StreamHandler(io.StringIO())
    request = next(http.get_parser(CONFIG, DeadlineSocket(Connection(b"GET / HTTP/1.1\r\n\r\n"), 1), NEAR))
    errors = wsgi.create(request, Connection(), NEAR, TCP, CONFIG)[1]["wsgi.errors"]
    written = []
    monkeypatch.setattr(CONFIG.settings["errorlog"], "value", "/dev/null")
    for handler in (first, second):
        monkeypatch.setattr(log, "handlers", [handler])
        errors.write("oh\n")
        errors.writelines(["no\n"])
        errors.flush()
        written.append(handler.stream.getvalue())
    assert written == ["oh\nno\n", "oh\nno\n"]


def test_the_date_is_gunicorns_own(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    monkeypatch.undo()
    theirs = util.http_date
    request.getfixturevalue("told")
    for moment in (0.999, 1, 1_800_000_000.5, 1_800_000_001):
        assert util.http_date(moment) == theirs(moment)
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        assert util.http_date() == theirs(moment)


def test_the_service_tells_gunicorn():
    """In a process of its own: it tells the whole process."""
    says = "import runpy; runpy.run_path('gunicorn.conf.py'); from gunicorn import http; print(http.RequestParser)"
    root = Path(__file__).resolve().parents[2]
    said = subprocess.run([sys.executable, "-c", says], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "<class 'taskapi.server.protocol.FastParser'>"


@pytest.mark.parametrize("framing", [[("Content-Length", str(protocol.JOINED + 1))], []], ids=["length", "chunked"])
def test_a_large_response_is_sent_without_a_copy_of_it(framing: list[Any]):
    class Keeping(Connection):
        def sendall(self, data: bytes) -> None:
            kept.append(data)

    kept: list[bytes] = []
    body = b"x" * (protocol.JOINED + 1)
    request = next(iter(RequestParser(CONFIG, Connection(b"GET / HTTP/1.1\r\n\r\n"), NEAR)))
    answer = protocol.FastResponse(request, Keeping(), CONFIG)
    answer.start_response("200 OK", framing)
    answer.write(body)
    answer.close()
    assert sum(piece is body for piece in kept) == 1
    assert all(piece is body or len(piece) < 500 for piece in kept)
    sent = b"".join(kept).partition(b"\r\n\r\n")[2]
    assert sent == (body if framing else b"10001\r\n" + body + b"\r\n0\r\n\r\n")
