"""HTTP/1 response writer: sends headers and first body piece together, and resets the connection of a partial response.

tests/server/test_response.py compares its bytes with those of gunicorn's own Response.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

MAX_JOINED_BYTES = 64 * 1024
"""Largest piece of a body (bytes) that is copied behind the headers, to send both with one system call."""


LENGTH = "Content-Length"

_PLAIN_VALUES = re.compile(r"(?:(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?\n)*")
"""Header values, a newline after each, that gunicorn accepts and does not change: none begins or ends with a space."""


class FastResponse(wsgi.Response):
    """gunicorn's Response with cached checks of header names, and with headers buffered until the body."""

    headers_sent: bool
    """Whether the status line and headers are final; they may still be in `_buffered_head`."""
    announces_close = False
    """Whether the headers end the connection with this response (RFC 9112, section 9.6)."""
    _buffered_head = b""
    """Encoded status line and headers, not yet sent."""
    _resets_on_close = False

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """Validate the application's headers and add them; raises gunicorn's errors for an invalid name or value."""
        headers = [*headers]
        names = [name for name, _ in headers]
        try:
            values = "\n".join([*[value for _, value in headers], ""])
            # A newline within a value would end it (response splitting), so they are counted.
            are_plain = all(map(_is_plain_name, names)) and values.count("\n") == len(names)
            length = int(headers[names.index(LENGTH)][1]) if LENGTH in names else None
        except (TypeError, ValueError):  # not a string, or not a number
            are_plain, length = False, None
        if not are_plain or not _PLAIN_VALUES.fullmatch(values):
            super().process_headers(headers)  # raises gunicorn's error for an invalid one
            return
        self.headers += headers
        if length is not None:
            self.response_length = length

    def send_headers(self) -> None:
        """Encode the status line and the headers, once; the first piece of the body, or `close`, sends them.

        If a body of unknown length follows, closing the socket resets the connection until `close` has completed the
        response.
        """
        if not self.headers_sent:
            lines = [*self.default_headers(), *[f"{name}: {value}\r\n" for name, value in self.headers], "\r\n"]
            self._buffered_head = "".join(lines).encode("latin-1")
            self.headers_sent = True
            if self.response_length is None and not self._omits_body:
                self._reset_on_close(True)

    def default_headers(self) -> list[str]:
        """Return the status line and gunicorn's own headers, as gunicorn does; also sets `announces_close`.

        The Date is formatted once a second.
        """
        connection = "upgrade" if self.upgrade else "close" if self.should_close() else "keep-alive"
        self.announces_close = connection == "close"
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\n",
            _date_line(int(time.time())),
            f"Connection: {connection}\r\n",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def _emit_body(self, data: bytes) -> None:
        """Send a piece of the body, as a chunk if it is chunked, behind the headers that `send_headers` has buffered.

        gunicorn's `write` calls this, after `send_headers`. `data` is not empty: an empty chunk would end the body.
        """
        head, self._buffered_head = self._buffered_head, b""
        if len(data) > MAX_JOINED_BYTES:
            self._emit_large(head, data)
            return
        framed = b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data
        self.sock.sendall(head + framed if head else framed)

    def _emit_large(self, head: bytes, data: bytes) -> None:
        """Send the encoded headers `head`, if any, and a large piece of the body, with chunk framing if it is chunked.

        The piece is sent by itself: joined with the rest, its copy would stay in memory while a slow client reads.
        """
        before, after = (head + b"%X\r\n" % len(data), b"\r\n") if self.chunked else (head, b"")
        for part in filter(None, (before, data, after)):
            self.sock.sendall(part)

    def can_sendfile(self) -> bool:
        """Return False: sendfile would overtake the buffered headers."""
        return False

    def close(self) -> None:
        """End the response: send headers that are still buffered (no body), and the last chunk if it is chunked.

        Closing the socket afterwards does not reset the connection. The socket stays open.
        """
        self.send_headers()
        if self._buffered_head:
            self.sock.sendall(self._buffered_head)
        if self.chunked:
            self.sock.sendall(b"0\r\n\r\n")
        if self._resets_on_close:
            self._reset_on_close(False)

    def _reset_on_close(self, resets: bool) -> None:  # noqa: FBT001
        """Make closing the socket reset the connection of an incomplete response (SO_LINGER), or with False end that.

        In HTTP/1.0 the end of the connection ends the response: without a reset, a partial one would look complete. The
        kernel resets the connection even if the process is killed.
        """
        self._resets_on_close = resets
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", resets, 0))


@lru_cache(maxsize=2)
def _date_line(second: int) -> str:
    """Return the Date header for a Unix time; cached, so it is formatted once a second."""
    return f"Date: {util.http_date(second)}\r\n"


@lru_cache(maxsize=256)
def _is_plain_name(name: Any) -> bool:
    """Return True for a valid header name (RFC 9110, section 5.1) that gunicorn does not treat specially.

    True for `LENGTH`, too. False for hop-by-hop headers, for an invalid name, and for what is not a string; cached.
    """
    return (
        isinstance(name, str)
        and wsgi.TOKEN_RE.fullmatch(name) is not None
        and (name == LENGTH or name.lower() != "content-length")
        and not util.is_hoppish(name)
    )
