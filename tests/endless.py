"""A request body that does not end, and counts how much of it is read."""

from __future__ import annotations

import io
from typing import Any


class EndlessBody(io.RawIOBase):
    """`wsgi.input` of zeros without an end."""

    def __init__(self, limit: int = 10_000_000) -> None:
        self.count = 0
        self._limit = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.count += len(buffer)
        assert self.count < self._limit, "the body is read without a bound"
        return len(buffer)

    def environ(self, **headers: str) -> dict[str, Any]:
        """What a request with this body has in its environ, in chunks unless headers say otherwise."""
        framing = {} if "CONTENT_LENGTH" in headers else {"HTTP_TRANSFER_ENCODING": "chunked"}
        return {"wsgi.input": self, "wsgi.input_terminated": True, **framing, **headers}
