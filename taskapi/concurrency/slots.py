"""Concurrency slots: a worker executes as many requests at a time as it has database connections.

The gunicorn worker (server/worker.py) makes each request hold a slot. Code that waits for something other than the
database, such as the client's body, the key server or SQLite's write lock, releases the slot during the wait, so that
waiting requests do not block other requests. Other WSGI servers have no slots; there these functions do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Protocol


class Semaphore(Protocol):
    """Interface of the semaphores of gevent and of threading."""

    def acquire(self) -> object:
        """Wait until a slot is free, and take it."""

    def release(self) -> object:
        """Give a slot back, to the request that has waited longest, if any."""


Slot = Callable[[], AbstractContextManager[None]]
"""Factory of a context manager that holds a slot."""

_held: ContextVar[Semaphore | None] = ContextVar("taskapi_slot", default=None)


# Classes instead of @contextmanager, which takes four times as many bytecodes: every request enters one.


class held:  # noqa: N801  used like a function
    """Context manager that waits for a slot and holds it in the `with` block, except while `released` is active."""

    __slots__ = ("_slots", "_token")

    def __init__(self, slots: Semaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        """Wait for a slot, and note that this request holds it."""
        self._slots.acquire()
        self._token = _held.set(self._slots)

    def __exit__(self, *_: object) -> None:
        """Release the slot."""
        _held.reset(self._token)
        self._slots.release()


class released:  # noqa: N801  used like a function
    """Context manager that releases the slot of the current request, if any, and waits for one again at the end."""

    __slots__ = ("_slots", "_token")

    def __enter__(self) -> None:
        """Release the slot of the current request; nothing if it holds none."""
        self._slots = _held.get()
        if self._slots is not None:
            self._slots.release()
            self._token = _held.set(None)

    def __exit__(self, *_: object) -> None:
        """Wait for a slot again, if one was released."""
        if self._slots is not None:
            self._slots.acquire()
            _held.reset(self._token)


def later() -> Slot:
    """Return a factory of context managers that hold a slot during work done while the response is streamed.

    Call `later` before the view returns. The request's slot is released with that return, so each context manager waits
    for a slot again. It takes none if the request still holds its slot, or the server has no slots.
    """
    return partial(_ensure_held, _held.get())


@contextmanager
def _ensure_held(slots: Semaphore | None) -> Iterator[None]:
    """Wait for a slot and hold it in the `with` block; do nothing if `slots` is None or the request holds one."""
    if slots is None or _held.get() is not None:
        yield
        return
    with held(slots):
        yield
