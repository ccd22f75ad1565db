"""Limits on what a client sends around the content of a request: its head, and the framing of a chunked body.

A limit on the content alone does not limit what is received and parsed for it: a chunk of one byte may have a line of
many kilobytes, a body of 64 KiB may be 64 Ki chunks, and a head may arrive a byte at a time.
"""

from __future__ import annotations

from typing import Any

from gunicorn.http import body, message
from gunicorn.http.errors import InvalidChunkExtension, InvalidHeader, LimitRequestHeaders

MAX_HEADERS_BYTES = 32 * 1024
"""Bytes that all headers of a request may have, beside its first line; with more it is 431. As nginx has it."""

FRAMING_ALLOWANCE, FRAMING_SHARE = 2 * 1024, 8
"""Chunk lines may take so many bytes in total, and one more for each so many bytes of content before them: 700 chunks
of one byte, and any number of 32 bytes or more. Clients send a kilobyte and more at a time."""

AT_ONCE = 512
"""Bytes that are received at a time where a chunk line may stand: other clients are served between (worker.py), and
8 KiB, as gunicorn receives at a time, of 1-byte chunks take 3 ms. The content of a chunk comes in larger pieces."""

MAX_LINE, MAX_TRAILERS = 1024, 4 * 1024
"""Bytes of a chunk line, and of all trailers, that are waited for: both are searched from the start for each packet."""


class RequestHead(message.Request):
    """As gunicorn's; the headers are limited in total, and each byte of them is searched once."""

    def read_line(self, unreader: Any, buf: bytearray, limit: int = 0) -> tuple[bytes, bytearray]:
        """Receive the first line, and all headers with it: gunicorn would search them again for each packet."""
        line, rest = super().read_line(unreader, buf, limit)
        if not ends_headers(rest, 0):
            self.parse_request_line(line)  # a malformed line is refused at once, not when the headers have arrived
            self._receive_headers(unreader, rest)
        return line, rest

    def _receive_headers(self, unreader: Any, buf: bytearray) -> None:
        """Receive up to the empty line that ends the headers; refuse what gunicorn refuses before it has come."""
        searched = 0
        while not ends_headers(buf, searched):
            if buf.count(b"\n", searched) != buf.count(b"\r\n", max(0, searched - 1)):
                raise InvalidHeader("bare LF as line terminator")
            searched = len(buf)
            self.read_into(unreader, buf)
            if len(buf) > min(self.max_buffer_headers, MAX_HEADERS_BYTES):
                raise LimitRequestHeaders("max buffer headers")


def ends_headers(buf: bytearray, searched: int) -> bool:
    """Whether headers are complete, if the first `searched` bytes were looked at before."""
    return buf.find(b"\r\n\r\n", max(0, searched - 3)) >= 0 or buf[:2] == b"\r\n"


class ChunkedReader(body.ChunkedReader):
    """As gunicorn's; raises `InvalidChunkExtension` when the framing takes more than its limit."""

    def __init__(self, request: Any, unreader: Any) -> None:
        super().__init__(request, unreader)
        self.limit_chunk_size_line, self.limit_trailer_section = MAX_LINE, MAX_TRAILERS
        self._framing = self._content = 0
        self._usually_at_once, unreader.mxchunk = unreader.mxchunk, AT_ONCE

    def parse_chunk_size(self, unreader: Any, data: bytes | None = None) -> tuple[int, bytes | None]:
        """Read the line before a chunk: the chunk's size, and what was received behind the line."""
        self._framing += len(data or b"")
        size, rest = super().parse_chunk_size(unreader, data)
        self._framing -= len(rest or b"")
        if size and self._framing > FRAMING_ALLOWANCE + self._content // FRAMING_SHARE:
            raise InvalidChunkExtension("more framing than content")
        self._content += size
        if not size:
            unreader.mxchunk = self._usually_at_once  # for the next request
        return size, rest

    def read_into(self, unreader: Any, buf: bytearray) -> None:
        """Receive more of a line or of the trailers."""
        before = len(buf)
        super().read_into(unreader, buf)
        self._framing += len(buf) - before
