"""Connections in memory, gunicorn settings, and generated HTTP requests for the tests of the HTTP parser and writer."""

from __future__ import annotations

import io
from typing import Any

from gunicorn.config import Config
from hypothesis import strategies as st

TRUSTED_PEER, OTHER_PEER = ("127.0.0.1", 40_000), ("203.0.113.9", 40_000)
"""Addresses of clients inside and outside gunicorn's `forwarded_allow_ips`."""


class Connection:
    """Socket that receives `received`, at most `size` bytes at a time, and records in `sent` what is sent."""

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


def config(**settings: Any) -> Config:
    """Return a gunicorn configuration with the defaults of the tests and these settings."""
    made = Config()
    for name, value in {"forwarder_headers": "", "limit_request_fields": 20, **settings}.items():
        made.set(name, value)
    return made


CONFIG = config()
SMALL_LIMITS = config(limit_request_fields=3, limit_request_field_size=40)

GET = b"GET / HTTP/1.1\r\n\r\n"
TWO_REQUESTS = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
BROKEN_CHUNK = TWO_REQUESTS.replace(b"Content-Length: 3\r\n\r\nabc", CHUNKED.replace(b"3\r\n", b"3x\r\n"))

# Generated requests: valid and malformed

NAMES = [
    "Host",
    "host",
    "Authorization",
    "Accept",
    "Content-Type",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Expect",
    "X-Forwarded-Proto",
    "X-Forwarded-Ssl",
    "X_Forwarded_Proto",
    "SCRIPT_NAME",
    "X-Request-Id",
    "",
    " Host",
    "Host ",
    "Höst",
    "Bad Name",
    "Bad\tName",
    "(x)",
    "Trailer",
]
COMMON_NAMES = NAMES[:8]
VALUES = [
    *[
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
        "100-continue",
        "https",
        "http",
        "on",
        "Bearer x.y.z",
        "text/plain",
        "",
        " \t ",
        "ÿ",
        "a\x00b",
        "a\x7fb",
        "a\nb",
        "a\rb",
    ],
    *("x" * 60, "x" * 9000),
]
separators = st.sampled_from([":", ": ", ":\t", " : ", "", "::"])
header_line = st.one_of(
    st.tuples(st.sampled_from(NAMES), separators, st.sampled_from(VALUES)).map("".join),
    st.tuples(st.sampled_from(COMMON_NAMES), st.just(": "), st.sampled_from(VALUES)).map("".join),
    st.tuples(st.sampled_from(["X-A", "X-B"]), st.just(": "), st.text(st.characters(max_codepoint=255))).map("".join),
    st.sampled_from([" folded", "\tfolded: again", "no colon", ":", "\n", "X-A: b\nHost: c"]),
)
request_line = st.sampled_from(
    ["GET /a?b=c HTTP/1.1", "POST / HTTP/1.1", "HEAD / HTTP/1.0", "CONNECT a:1 HTTP/1.1", "GET /\u00e4 HTTP/1.1"]
)
request = st.tuples(
    request_line, st.lists(header_line, max_size=6), st.sampled_from(["", "abc", "3\r\nabc\r\n0\r\n\r\n"])
).map(lambda parts: "\r\n".join([parts[0], *parts[1], "", parts[2]]).encode("latin-1"))
