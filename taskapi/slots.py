"""Concurrency slots: a worker executes as many requests at a time as it has database connections.

The gunicorn worker (serving.py) makes each request hold a slot. Code that waits for something other than the
database, such as the client's body, the key server or SQLite's write lock, releases the slot for that time, so that
waiting requests do not keep other requests from running. Under another server there are no slots, and nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Semaphore(Protocol):
    """What a slot is taken from: gevent's or threading's."""

    def acquire(self) -> object: ...

    def release(self) -> object: ...


_held: ContextVar[Semaphore | None] = ContextVar("taskapi_slot", default=None)


@contextmanager
def held(slots: Semaphore) -> Iterator[None]:
    """Hold a slot, waiting until one is free."""
    slots.acquire()
    token = _held.set(slots)
    try:
        yield
    finally:
        _held.reset(token)
        slots.release()


@contextmanager
def released() -> Iterator[None]:
    """Release the slot of the current request, if it holds one, and wait for one again at the end."""
    slots = _held.get()
    if slots is None:
        yield
        return
    slots.release()
    token = _held.set(None)
    try:
        yield
    finally:
        slots.acquire()
        _held.reset(token)
