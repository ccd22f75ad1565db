"""Limits on the parts of a request that are not content: the size of all headers, and the framing of a chunked body.

A limit on the content alone does not bound what is received and parsed for it: a chunk of one byte may have a line of
many kilobytes, a body of 64 KiB may consist of 64 Ki chunks, and headers may arrive one byte at a time.
"""

from __future__ import annotations

from typing import Any

from gunicorn.http import message
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidChunkExtension, InvalidHeader, LimitRequestHeaders

MAX_HEADERS_BYTES = 32 * 1024
"""Bytes of all headers of a request together, without the request line; 431 for more. nginx has this limit."""

FRAMING_ALLOWANCE = 2 * 1024
"""Bytes that the chunk lines of a body may have in any case: 700 chunks of one byte."""

FRAMING_SHARE = 8
"""Bytes of content that allow one more byte of chunk lines: any number of chunks of 32 bytes or more is accepted.

HTTP clients send chunks of a kilobyte and more.
"""

CHUNK_LINE_RECEIVE_BYTES = 512
"""Bytes that are received at a time where a chunk line may stand; the worker serves other clients between two receives.

gunicorn receives 8 KiB at a time: of 1-byte chunks, these take 3 ms. Content of a chunk is received in larger pieces.
"""

FRAMING_HEADERS = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING"})
"""Without one of these headers a request has no body (RFC 9112, section 6.3)."""

MAX_CHUNK_LINE, MAX_TRAILERS = 1024, 4 * 1024
"""Bytes of a chunk line, and of all trailers, that are received without their end: each is searched from the start."""


class LimitedRequest(message.Request):
    """gunicorn's Request with a limit on all headers together, searching each received byte once for their end."""

    body: Any

    def read_line(self, unreader: Any, buf: bytearray, limit: int = 0) -> tuple[bytes, bytearray]:
        """Receive the request line and all headers: gunicorn would search the headers again for each packet.

        `buf` has what was received before; `limit` (0: none) is the maximum of the request line. Returns the request
        line and what was received behind it, at least all headers. Raises gunicorn's errors; for a malformed request
        line before the headers are received.
        """
        line, rest = super().read_line(unreader, buf, limit)
        if not ends_headers(rest, 0):
            self.parse_request_line(line)  # refuse a malformed line now, without waiting for the headers
            self._receive_headers(unreader, rest)
        return line, rest

    def _receive_headers(self, unreader: Any, buf: bytearray) -> None:
        """Receive up to the empty line that ends the headers, appending to `buf`.

        Raises `LimitRequestHeaders` beyond `MAX_HEADERS_BYTES` (or gunicorn's own limit, if less), `InvalidHeader` for
        a line without CR, and `NoMoreData` if the client closes.
        """
        searched = 0
        while not ends_headers(buf, searched):
            if buf.count(b"\n", searched) != buf.count(b"\r\n", max(0, searched - 1)):
                raise InvalidHeader("bare LF as line terminator")
            searched = len(buf)
            self.read_into(unreader, buf)
            if len(buf) > min(self.max_buffer_headers, MAX_HEADERS_BYTES):
                raise LimitRequestHeaders("max buffer headers")

    def set_body_reader(self) -> None:
        """Set `body`, which is empty without a header about one; LimitedChunkedReader reads a chunked body."""
        if dict(self.headers).keys().isdisjoint(FRAMING_HEADERS):
            self.body = Body(LengthReader(self.unreader, 0))  # as gunicorn, which makes two other readers before
            return
        super().set_body_reader()
        if isinstance(self.body.reader, ChunkedReader):
            self.body = Body(LimitedChunkedReader(self, self.unreader))


def ends_headers(buf: bytearray, searched: int) -> bool:
    """Return True if `buf` holds complete headers; the first `searched` bytes of it were searched before."""
    return buf.find(b"\r\n\r\n", max(0, searched - 3)) >= 0 or buf[:2] == b"\r\n"


class LimitedChunkedReader(ChunkedReader):
    """gunicorn's ChunkedReader; raises InvalidChunkExtension when chunk lines exceed their share of the body."""

    def __init__(self, request: Any, unreader: Any) -> None:
        """Make `unreader` receive `CHUNK_LINE_RECEIVE_BYTES` at a time until the last chunk."""
        super().__init__(request, unreader)
        self.limit_chunk_size_line, self.limit_trailer_section = MAX_CHUNK_LINE, MAX_TRAILERS
        self._framing_bytes = self._content_bytes = 0
        self._default_receive_bytes, unreader.mxchunk = unreader.mxchunk, CHUNK_LINE_RECEIVE_BYTES

    def parse_chunk_size(self, unreader: Any, data: bytes | None = None) -> tuple[int, bytes | None]:
        """Parse a chunk line; return the chunk's size (0: the last chunk), and what was received after the line.

        `data` is what was received before. Raises InvalidChunkExtension if the chunk lines so far exceed their share,
        and gunicorn's errors.
        """
        self._framing_bytes += len(data or b"")
        size, rest = super().parse_chunk_size(unreader, data)
        self._framing_bytes -= len(rest or b"")
        if size and self._framing_bytes > FRAMING_ALLOWANCE + self._content_bytes // FRAMING_SHARE:
            raise InvalidChunkExtension("more framing than content")
        self._content_bytes += size
        if not size:
            unreader.mxchunk = self._default_receive_bytes  # for the next request
        return size, rest

    def read_into(self, unreader: Any, buf: bytearray) -> None:
        """Receive more of a chunk line or of the trailers into `buf`, and count it as framing."""
        before = len(buf)
        super().read_into(unreader, buf)
        self._framing_bytes += len(buf) - before
