"""Limit the memory for large responses: how many of them a user, and a worker, may have in progress.

A response is sent after its request has released its concurrency slot, so slots do not limit how many wait in memory
for clients that do not read. A response of more than `LARGE_RESPONSE_BYTES` holds a permit instead, from before its
rows are read until it has been sent or its connection is closed.
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

LARGE_RESPONSE_BYTES = 64 * 1024
"""Maximum bytes of a response that needs no permit; the longest task takes 45 KB."""

SMALL_PAGE, PROBE_ROWS = 100, 20
"""Maximum tasks of a page that is read without a permit, and the number of tasks of a longer page that are read without
one, to see whether it is large. `SMALL_PAGE` tasks without long texts have about `LARGE_RESPONSE_BYTES` together."""

MAX_PER_USER, MAX_PER_WORKER = 2, 8
"""Maximum large responses in progress at a time."""

PERMIT_TIMEOUT = 2.0
"""Seconds to wait for a permit, without a concurrency slot, before the request is refused."""

R = TypeVar("R", bound=Response)


class Permits:
    """A semaphore with a limit for each user and one for all users of the process."""

    def __init__(self, per_user: int, per_worker: int) -> None:
        self._per_user, self._per_worker = per_user, per_worker
        self._changed = Condition()
        self._users: Counter[str] = Counter()

    def acquire(self, user_id: str) -> HeldPermit | None:
        """Acquire a permit without waiting; None if none is free."""
        with self._changed:
            return self._acquire(user_id)

    def wait(self, user_id: str, seconds: float) -> HeldPermit | None:
        """Acquire a permit, and wait up to `seconds` for one; None if none becomes free."""
        with self._changed:
            return self._changed.wait_for(lambda: self._acquire(user_id), seconds)

    def held_by(self, user_id: str) -> int:
        """Return how many permits a user holds."""
        return self._users[user_id]

    def release(self, user_id: str) -> None:
        """Release a permit of a user."""
        with self._changed:
            self._users[user_id] -= 1
            if not self._users[user_id]:
                del self._users[user_id]
            self._changed.notify_all()

    def _acquire(self, user_id: str) -> HeldPermit | None:
        """Acquire a permit without waiting; call it with the condition's lock held."""
        if self._users[user_id] >= self._per_user or self._users.total() >= self._per_worker:
            return None
        self._users[user_id] += 1
        return HeldPermit(self, user_id)


permits = Permits(MAX_PER_USER, MAX_PER_WORKER)
"""The permits of this process."""


class HeldPermit:
    """A permit that is held; it is released when it is garbage collected, at the latest."""

    def __init__(self, permits: Permits, user_id: str) -> None:
        self._permits, self._user_id = permits, user_id
        self._released = False

    def release(self) -> None:
        """Release it; a second call has no effect."""
        if not self._released:
            self._released = True
            self._permits.release(self._user_id)

    def __del__(self) -> None:
        # Flask never closes a response that an error response replaces because a hook after the view failed.
        self.release()


class Permit:
    """The permit of one request, acquired only if its response is large: a context manager that releases it."""

    __slots__ = ("_held", "_user_id")

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._held: HeldPermit | None = None

    @property
    def held(self) -> bool:
        """True if the permit is held."""
        return self._held is not None

    def acquire(self) -> bool:
        """Acquire it without waiting; return True if it is held now."""
        self._held = self._held or permits.acquire(self._user_id)
        return self._held is not None

    def allows(self, size: int) -> bool:
        """Return True if a response of `size` bytes may be made now; try to acquire a permit if it is large."""
        return size <= LARGE_RESPONSE_BYTES or self.acquire()

    def wait(self) -> None:
        """Acquire it; wait up to `PERMIT_TIMEOUT` seconds without the concurrency slot.

        Raises `TooManyRequests` if the user holds all permits of a user, otherwise `ServiceUnavailable`.
        """
        if self.acquire():
            return
        with slots.released():
            self._held = permits.wait(self._user_id, PERMIT_TIMEOUT)
        if self._held:
            return
        if permits.held_by(self._user_id) < MAX_PER_USER:
            raise ServiceUnavailable("Too many large responses are being sent. Try again shortly.", headers=RETRY_AFTER)
        detail = f"{MAX_PER_USER} large responses to you are in progress. Read them first, then repeat the request."
        raise TooManyRequests(detail, headers=RETRY_AFTER)

    def hold_until_closed(self, response: R, size: int | None) -> R:
        """Hold the permit until a response is closed, if it is large; a `size` of None (unknown) counts as large."""
        if self._held and (size is None or size > LARGE_RESPONSE_BYTES):
            response.call_on_close(self._held.release)
            self._held = None
        return response

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._held.release()


def with_large_response_permit(view: Callable[[], Response]) -> Callable[[], Response]:
    """Decorate a view that writes, and whose response may be large: it acquires a permit before it runs.

    Once it has written it cannot be refused, and it must not wait for a permit within its transaction.
    """

    @wraps(view)
    def with_permit() -> Response:
        with Permit(g.user.id) as permit:
            permit.wait()
            response = view()
            return permit.hold_until_closed(response, response.calculate_content_length())

    return with_permit
