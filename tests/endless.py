"""A request body without an end that counts how much of it is read."""

from __future__ import annotations

import io
from typing import Any


class EndlessBody(io.RawIOBase):
    """A `wsgi.input` of zero bytes without an end; reading more than `limit` bytes fails the test."""

    def __init__(self, limit: int = 10_000_000) -> None:
        self.count = 0
        self._limit = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.count += len(buffer)
        assert self.count < self._limit, "the body is read without a limit"
        return len(buffer)

    def environ(self, **headers: str) -> dict[str, Any]:
        """Return the WSGI environ of a request with this body, chunked unless `headers` give a Content-Length."""
        framing = {} if "CONTENT_LENGTH" in headers else {"HTTP_TRANSFER_ENCODING": "chunked"}
        return {"wsgi.input": self, "wsgi.input_terminated": True, **framing, **headers}
