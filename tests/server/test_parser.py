"""FastParser reads and refuses what gunicorn's RequestParser reads and refuses; its caches are bounded."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskapi.server import parser
from taskapi.server.deadline_socket import DeadlineSocket
from tests.server.connections import (
    BROKEN_CHUNK,
    CHUNKED,
    CONFIG,
    OTHER_PEER,
    SMALL_LIMITS,
    TRUSTED_PEER,
    TWO_REQUESTS,
    Connection,
    request,
)


def read(
    kind: type[RequestParser],
    data: bytes,
    cfg: Config = CONFIG,
    peer: Any = OTHER_PEER,
    body_bytes: int = 0,
    packet: int = 8192,
) -> list[Any]:
    """Parse `data` as a connection whose application reads `body_bytes` of each body; an error is the last element.

    An error while a body is read does not end the connection: that is up to the application.
    """
    parsed: list[Any] = []
    try:
        for each in kind(cfg, DeadlineSocket(Connection(data, packet), 1), peer):
            facts = each.method, each.uri, each.path, each.query, each.version, each.headers, each.scheme
            flags = each._expected_100_continue, each.should_close()
            try:
                body = each.body.read(body_bytes)
            except Exception as error:  # noqa: BLE001
                body = type(error), str(error)
            parsed.append((facts, flags, body, each.trailers))
    except Exception as error:  # noqa: BLE001
        parsed.append((type(error), str(error)))
    return parsed


def parsed_headers(requests: list[Any]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = requests[0][0][5]
    return headers


@settings(max_examples=500)
@given(
    data=st.lists(request, min_size=1, max_size=3).map(b"".join),
    peer=st.sampled_from([TRUSTED_PEER, OTHER_PEER, ""]),
    cfg=st.sampled_from([CONFIG, CONFIG, SMALL_LIMITS]),
    body_bytes=st.sampled_from([0, 2, 100]),
    packet=st.sampled_from([8192, 8192, 50]),
)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", TRUSTED_PEER, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n", TRUSTED_PEER, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n", OTHER_PEER, CONFIG, 0, 8192)
@example(b"GET / HTTP/1.1\r\nExpect: more\r\n\r\n", OTHER_PEER, CONFIG, 0, 8192)
@example(
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\nHost: c\r\n\r\n",
    TRUSTED_PEER,
    CONFIG,
    9,
    8192,
)
@example(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 4 + b"\r\n", TRUSTED_PEER, SMALL_LIMITS, 0, 8192)
@example(b"GET / HTTP/1.1\r\nX-A: " + b"b" * 40 + b"\r\n\r\n", TRUSTED_PEER, SMALL_LIMITS, 0, 8192)
@example(BROKEN_CHUNK, TRUSTED_PEER, CONFIG, 9, 8192)
@example(BROKEN_CHUNK, TRUSTED_PEER, CONFIG, 9, BROKEN_CHUNK.index(b"GET"))  # the next request is its own packet
@example(TWO_REQUESTS, TRUSTED_PEER, CONFIG, 0, 8192)
@example(TWO_REQUESTS.replace(b"3\r\n\r\nabc", b"100000\r\n\r\n" + b"x" * 100_000), TRUSTED_PEER, CONFIG, 2, 8192)
@example(TWO_REQUESTS.replace(b"3\r\n\r\nabc", b"100000\r\n\r\n" + b"x" * 90_000), TRUSTED_PEER, CONFIG, 0, 8192)
@example(TWO_REQUESTS, TRUSTED_PEER, CONFIG, 2, 50)
@example(TWO_REQUESTS, TRUSTED_PEER, CONFIG, 3, 8192)
@example(TWO_REQUESTS.replace(b"Content-Length: 3\r\n\r\nabc", CHUNKED), TRUSTED_PEER, CONFIG, 2, 8192)
def test_a_connection_is_parsed_like_by_gunicorn(data: bytes, peer: Any, cfg: Config, body_bytes: int, packet: int):
    expected = read(RequestParser, data, cfg, peer, body_bytes, packet)
    for _ in range(2):  # the second time from the caches
        assert read(parser.FastParser, data, cfg, peer, body_bytes, packet) == expected


class EndlessConnection(Connection):
    """Connection that receives `head` and then `piece` again and again."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        super().__init__()
        self._waiting, self._piece, self.count = head, piece, 0

    def recv(self, size: int) -> bytes:
        while len(self._waiting) < size:
            self._waiting += self._piece
        received, self._waiting = self._waiting[:size], self._waiting[size:]
        self.count += size
        assert self.count < 10 * parser.MAX_DRAIN_BYTES
        return received


@pytest.mark.parametrize(
    ("framing", "piece"),
    [
        (b"Content-Length: 9999999999", b"x" * 100_000),
        (b"Transfer-Encoding: chunked", b"ffff\r\n" + b"x" * 65_535 + b"\r\n"),
    ],
    ids=["length", "chunks"],
)
def test_an_unread_body_is_received_up_to_a_limit_and_then_the_connection_ends(framing: bytes, piece: bytes):
    endless = EndlessConnection(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n", piece)
    requests = parser.FastParser(CONFIG, DeadlineSocket(endless, 1), TRUSTED_PEER)
    next(requests)
    with pytest.raises(StopIteration):
        next(requests)
    assert parser.MAX_DRAIN_BYTES <= endless.count < 3 * parser.MAX_DRAIN_BYTES


def test_a_cached_header_is_trusted_only_from_a_trusted_peer():
    data = b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    schemes = [read(parser.FastParser, data, peer=peer)[0][0][-1] for peer in (TRUSTED_PEER, OTHER_PEER, TRUSTED_PEER)]
    assert schemes == ["https", "http", "https"]


@pytest.fixture
def _empty_caches() -> None:
    parser._header_cache.clear()
    parser._request_line_cache.clear()


@pytest.mark.usefixtures("_empty_caches")
def test_long_lines_and_long_queries_are_not_cached():
    data = b"GET / HTTP/1.1\r\nX-A: b\r\nX-B: " + b"c" * parser.MAX_CACHED_LINE + b"\r\n\r\n"
    assert [name for name, _ in parsed_headers(read(parser.FastParser, data))] == ["X-A", "X-B"]
    assert list(parser._header_cache) == [b"X-A: b"]
    for uri in "/a?b=c", "/" + "a" * parser.MAX_CACHED_LINE, "/a?token=" + "c" * parser.MAX_CACHED_QUERY:
        assert read(parser.FastParser, f"GET {uri} HTTP/1.1\r\n\r\n".encode())[0][0][1] == uri
    assert list(parser._request_line_cache) == [b"GET / HTTP/1.1", b"GET /a?b=c HTTP/1.1"]


@pytest.mark.usefixtures("_empty_caches")
def test_credentials_are_not_cached():
    secret = b"Authorization: Bearer c4n4ry\r\nauthorization:c4n4ry\r\nCookie: a=c4n4ry\r\nProxy-Authorization: c4n4ry"
    data = b"GET / HTTP/1.1\r\nX-A: b\r\n" + secret + b"\r\n\r\n"
    assert len(parsed_headers(read(parser.FastParser, data))) == 5
    assert list(parser._header_cache) == [b"X-A: b"]


@pytest.mark.usefixtures("_empty_caches")
def test_a_full_cache_drops_its_oldest_entry():
    for number in range(parser.CACHE_ENTRIES + 10):
        read(parser.FastParser, b"GET /%d HTTP/1.1\r\nX-A: %d\r\n\r\n" % (number, number))
    assert len(parser._header_cache) == len(parser._request_line_cache) == parser.CACHE_ENTRIES
    assert next(iter(parser._header_cache)) == b"X-A: 10"
