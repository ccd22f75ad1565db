"""WSGI middleware: at most one request per concurrency slot runs in the application; the others wait in order."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from ..concurrency import slots

LIVENESS_PATH = "/healthz"


class SlotReleasingInput:
    """`wsgi.input` that releases the concurrency slot of its request while it waits for the client's data."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped body."""
        return getattr(self._body, name)

    def read(self, size: int | None = None) -> bytes:
        """Read up to `size` bytes (None: all) without the slot; then wait for the slot again."""
        with slots.released():
            received: bytes = self._body.read(size)
        return received


def limit_concurrency(application: Any, size: int) -> Any:
    """Return a WSGI application that runs at most `size` requests of `application` at a time; the others wait.

    A slot is held until `application` returns, not while the response is sent. A liveness probe needs none.
    """
    semaphore = BoundedSemaphore(size)

    def with_slot(environ: dict[str, Any], start_response: Any) -> Any:
        """Let other greenlets run, wait for a slot, and call `application` with it and a SlotReleasingInput.

        A liveness probe is passed on at once, without both.
        """
        if environ["PATH_INFO"] == LIVENESS_PATH:
            return application(environ, start_response)  # the liveness probe must succeed while all slots are taken
        environ["wsgi.input"] = SlotReleasingInput(environ["wsgi.input"])
        gevent.sleep(0)  # receive from clients that connected meanwhile first, so that they queue for a slot too
        with slots.held(semaphore):
            return application(environ, start_response)

    return with_slot
