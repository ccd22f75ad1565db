"""Bound the memory of large responses: a user, and a worker, has a limited number of them in progress.

A response is sent after its request has released its concurrency slot, so slots do not limit how many wait in memory
for clients that do not read. A response of more than `LARGE` bytes holds a permit instead, from before its rows are
read until it has been sent or its connection is closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from threading import Condition
from typing import TypeVar

from flask import Response, g

from ..concurrency import slots
from .errors import RETRY_AFTER, ServiceUnavailable, TooManyRequests

LARGE = 64 * 1024
"""Bytes of a response that needs no permit: the longest task takes 45 KB."""

FEW, FIRST = 100, 20
"""A page of so many tasks is read without a permit, and of a longer page its first ones, to find out whether it is
large. If none of them is long they are about `LARGE` together."""

PER_USER, PER_WORKER = 2, 8
"""Large responses in progress at a time."""

WAIT = 2.0
"""Seconds to wait for a permit, without a concurrency slot, before the request is refused."""

R = TypeVar("R", bound=Response)


class Permits:
    """Counts what is in progress, of each user and of all, and limits both."""

    def __init__(self, per_user: int, per_worker: int) -> None:
        self._per_user, self._per_worker = per_user, per_worker
        self._changed = Condition()
        self._users: Counter[str] = Counter()

    def take(self, user_id: str) -> Taken | None:
        """Take a permit if one is free."""
        with self._changed:
            return self._take(user_id)

    def wait(self, user_id: str, seconds: float) -> Taken | None:
        """Take a permit as soon as one is free, unless that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._take(user_id), seconds)

    def held_by(self, user_id: str) -> int:
        """How many a user holds."""
        return self._users[user_id]

    def release(self, user_id: str) -> None:
        """Give a permit back."""
        with self._changed:
            self._users[user_id] -= 1
            if not self._users[user_id]:
                del self._users[user_id]
            self._changed.notify_all()

    def _take(self, user_id: str) -> Taken | None:
        if self._users[user_id] >= self._per_user or self._users.total() >= self._per_worker:
            return None
        self._users[user_id] += 1
        return Taken(self, user_id)


permits = Permits(PER_USER, PER_WORKER)
"""Those of this process."""


class Taken:
    """A permit that was taken."""

    def __init__(self, permits: Permits, user_id: str) -> None:
        self._permits, self._user_id = permits, user_id
        self._released = False

    def release(self) -> None:
        """Give it back, once."""
        if not self._released:
            self._released = True
            self._permits.release(self._user_id)

    def __del__(self) -> None:
        # A response that is replaced by another one, because a hook after the view failed, is never closed.
        self.release()


class Permit:
    """The permit of one request, which may turn out not to need one: a context manager that releases it."""

    __slots__ = ("_taken", "_user_id")

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._taken: Taken | None = None

    @property
    def held(self) -> bool:
        """Whether it was taken."""
        return self._taken is not None

    def take(self) -> bool:
        """Hold it if it is free, or held already."""
        self._taken = self._taken or permits.take(self._user_id)
        return self._taken is not None

    def allows(self, size: int) -> bool:
        """Whether a response of so many bytes may be made now; a free permit is taken for a large one."""
        return size <= LARGE or self.take()

    def wait(self) -> None:
        """Hold it, without the concurrency slot until then. Raises `TooManyRequests` and `ServiceUnavailable`."""
        if self.take():
            return
        with slots.released():
            self._taken = permits.wait(self._user_id, WAIT)
        if self._taken:
            return
        if permits.held_by(self._user_id) < PER_USER:
            raise ServiceUnavailable("Too many large responses are being sent. Try again shortly.", headers=RETRY_AFTER)
        detail = f"{PER_USER} large responses to you are in progress. Read them first, then repeat the request."
        raise TooManyRequests(detail, headers=RETRY_AFTER)

    def keep(self, response: R, size: int | None) -> R:
        """Hold it until the response is closed, if that is large or, with None, of unknown size."""
        if self._taken and (size is None or size > LARGE):
            response.call_on_close(self._taken.release)
            self._taken = None
        return response

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._taken.release()


def large(view: Callable[[], Response]) -> Callable[[], Response]:
    """Let a view that writes, and whose response may be large, hold a permit from the beginning.

    It must not wait for one once it has begun to write, and what was written must be answered.
    """

    @wraps(view)
    def run() -> Response:
        with Permit(g.user.id) as permit:
            permit.wait()
            response = view()
            return permit.keep(response, response.calculate_content_length())

    return run
