"""Concurrency slots: a worker executes as many requests at a time as it has database connections.

The gunicorn worker (server/worker.py) makes each request hold a slot. Code that waits for something other than the
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


# Classes and not generators: every request enters one, and contextlib costs four times as many bytecodes.


class held:  # noqa: N801  used like a function
    """Hold a slot, waiting until one is free."""

    __slots__ = ("_slots", "_token")

    def __init__(self, slots: Semaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        self._slots.acquire()
        self._token = _held.set(self._slots)

    def __exit__(self, *_: object) -> None:
        _held.reset(self._token)
        self._slots.release()


class released:  # noqa: N801  used like a function
    """Release the slot of the current request, if it holds one, and wait for one again at the end."""

    __slots__ = ("_slots", "_token")

    def __enter__(self) -> None:
        self._slots = _held.get()
        if self._slots is not None:
            self._slots.release()
            self._token = _held.set(None)

    def __exit__(self, *_: object) -> None:
        if self._slots is not None:
            self._slots.acquire()
            _held.reset(self._token)


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
