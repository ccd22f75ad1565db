"""Concurrency slots: a worker executes as many requests at a time as it has database connections.

The gunicorn worker (serving.py) makes each request hold a slot. Code that waits for something other than the
database, such as the client's body, the key server or SQLite's write lock, releases the slot for that time, so that
waiting requests do not keep other requests from running. Under another server there are no slots, and nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Protocol


class Semaphore(Protocol):
    """What a slot is taken from: gevent's or threading's."""

    def acquire(self) -> object: ...

    def release(self) -> object: ...


Slot = Callable[[], AbstractContextManager[None]]
"""Makes a context manager that holds a slot."""

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


def later() -> Slot:
    """Return what holds a slot for work that the current request does later, while its response is sent.

    The view has returned then, and its slot was released; work that is done before needs no second one.
    """
    return partial(_held_again, _held.get())


@contextmanager
def _held_again(slots: Semaphore | None) -> Iterator[None]:
    if slots is None or _held.get() is not None:
        yield
        return
    with held(slots):
        yield
