"""Headers and chunk framing are limited in size, and each received byte is searched a bounded number of times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidChunkExtension, InvalidChunkSize, LimitRequestHeaders, ParseException

from taskapi.server import framing, parser
from taskapi.server.deadline_socket import DeadlineSocket
from tests.server.connections import CONFIG, TRUSTED_PEER, Connection, config

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
RECEIVE_BYTES = 8192
"""Bytes that gunicorn receives at a time of headers."""

PRODUCTION = config(limit_request_fields=64, limit_request_field_size=16_380)


class EndlessConnection(Connection):
    """Connection that receives `first` and then `piece` again and again, in packets of `packet` bytes."""

    def __init__(self, first: bytes, piece: bytes, packet: int = 65_536) -> None:
        super().__init__()
        self._first, self._pieces, self._packet = first, piece * (20_000 // len(piece) + 1), packet
        self._period = len(piece)
        self.count = 0

    def recv(self, size: int) -> bytes:
        size = min(size, self._packet, 8192)
        begin, self.count = self.count, self.count + size
        assert self.count < 1_000_000, "received without a limit"
        beyond = max(0, begin - len(self._first)) % self._period
        return (self._first[begin : begin + size] + self._pieces[beyond:])[:size]


def parse(connection: Connection, cfg: Config = CONFIG) -> parser.FastParser:
    return parser.FastParser(cfg, DeadlineSocket(connection, 1), TRUSTED_PEER)


# Headers


@pytest.mark.parametrize("packet", [1, 100, 8192])
@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"x", b"X-A: " + b"b" * 8000 + b"\r\n"], ids=["many", "one", "long"])
def test_headers_over_32_kib_are_refused_and_not_received_further(piece: bytes, packet: int) -> None:
    connection = EndlessConnection(b"GET / HTTP/1.1\r\nX-A: ", piece, packet)
    with pytest.raises(LimitRequestHeaders):
        next(parse(connection, PRODUCTION))
    assert connection.count <= framing.MAX_HEADERS_BYTES + RECEIVE_BYTES


def test_headers_of_almost_32_kib_are_accepted() -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 15_000) for number in (1, 2))
    request = next(parse(Connection(b"GET / HTTP/1.1\r\n" + lines + b"\r\n", 1000), PRODUCTION))
    assert [name for name, _ in request.headers] == ["X-1", "X-2"]


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n\r\nGET /next"], ids=["end", "pipelined"])
def test_headers_that_arrive_byte_by_byte_are_searched_once(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    searched, ends_headers = [], framing.ends_headers

    def count(buf: bytearray, before: int) -> bool:
        searched.append(len(buf) - max(0, before - 3))
        return ends_headers(buf, before)

    monkeypatch.setattr(framing, "ends_headers", count)
    head = b"GET / HTTP/1.1\r\n" + b"\r\n".join(b"X-%d: b" % number for number in range(19)) + end
    next(parse(Connection(head, 1)))
    assert sum(searched) < 5 * len(head)


@pytest.mark.parametrize("lines", [b":\r\n" * 4000, b"X-A: b\r\n" * 1000], ids=["malformed", "well-formed"])
def test_too_many_headers_are_refused_before_any_is_parsed(monkeypatch: pytest.MonkeyPatch, lines: bytes) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(parser, "_parse_header", parsed.append)
    with pytest.raises(ParseException):
        next(parse(Connection(b"GET / HTTP/1.1\r\n" + lines + b"\r\n"), PRODUCTION))
    assert parsed == []


# Chunks


def small_chunks() -> Iterator[tuple[str, bytes]]:
    yield "one byte", b"1\r\nx\r\n"
    yield "one byte, long extension", b"1;a=" + b"b" * 1000 + b"\r\nx\r\n"
    yield "one byte, many zeros", b"0" * 500 + b"1\r\nx\r\n"
    yield "sixteen bytes", b"10\r\n" + b"x" * 16 + b"\r\n"


@pytest.mark.parametrize("packet", [1, 8192])
@pytest.mark.parametrize("piece", dict(small_chunks()).values(), ids=dict(small_chunks()).keys())
@pytest.mark.parametrize("reads", [True, False], ids=["read-by-the-application", "drained-by-the-parser"])
def test_a_chunked_body_with_more_framing_than_its_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, piece: bytes, packet: int, *, reads: bool
) -> None:
    lines = []
    parse_line = framing.LimitedChunkedReader.parse_chunk_size

    def count(
        reader: framing.LimitedChunkedReader, unreader: Any, data: bytes | None = None
    ) -> tuple[int, bytes | None]:
        lines.append(data)
        return parse_line(reader, unreader, data)

    monkeypatch.setattr(framing.LimitedChunkedReader, "parse_chunk_size", count)
    connection = EndlessConnection(CHUNKED, piece, packet)
    requests = parse(connection)
    request = next(requests)
    with pytest.raises(InvalidChunkExtension):
        request.body.read(10_000_000) if reads else next(requests)
    assert len(lines) <= framing.FRAMING_ALLOWANCE / 2 + 1
    assert connection.count <= len(lines) * len(piece) + RECEIVE_BYTES + len(CHUNKED)


@pytest.mark.parametrize("size", [32, 100, 1000, 65_536])
def test_a_body_of_1_mib_in_chunks_of_32_bytes_or_more_is_accepted(size: int) -> None:
    whole, rest = divmod(1024 * 1024, size)
    chunks = (b"%x\r\n" % size + b"x" * size + b"\r\n") * whole
    chunks += b"%x\r\n" % rest + b"x" * rest + b"\r\n" if rest else b""
    requests = parse(Connection(CHUNKED + chunks + b"0\r\n\r\nGET /next HTTP/1.1\r\n\r\n"))
    assert len(next(requests).body.read()) == 1024 * 1024
    assert next(requests).path == "/next"


@pytest.mark.parametrize("packet", [1, 8192])
@pytest.mark.parametrize(
    ("first", "piece", "limit"),
    [
        (b"5;", b"a", framing.MAX_CHUNK_LINE),
        (b"0", b"0", framing.MAX_CHUNK_LINE),
        (b"0\r\n", b"X-A: b\r\n", framing.MAX_TRAILERS),
        (b"0\r\nX-A: ", b"b", framing.MAX_TRAILERS),
    ],
    ids=["extension", "size", "trailers", "trailer"],
)
def test_an_endless_chunk_line_or_trailer_is_refused(first: bytes, piece: bytes, limit: int, packet: int) -> None:
    connection = EndlessConnection(CHUNKED + first, piece, packet)
    with pytest.raises((InvalidChunkSize, LimitRequestHeaders)):
        next(parse(connection)).body.read()
    assert connection.count <= len(CHUNKED) + limit + 2 * RECEIVE_BYTES
