"""Limit the memory for large responses: how many of them a user, and a worker, may have in progress.

A response is sent after its request has released its concurrency slot, so slots do not limit how many wait in memory
for clients that do not read. A response of more than `LARGE_RESPONSE_BYTES` holds a permit instead, from before its
rows are read until it has been sent or its connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from flask import Response, g

from .permits import HeldPermit, Permits

LARGE_RESPONSE_BYTES = 64 * 1024
"""Maximum bytes of a response that needs no permit; the longest task takes 45 KB."""

SMALL_PAGE, PROBE_ROWS = 100, 20
"""Maximum tasks of a page that is read without a permit, and the number of tasks of a longer page that are read without
one, to see whether it is large. `SMALL_PAGE` tasks without long texts have about `LARGE_RESPONSE_BYTES` together."""

MAX_PER_USER, MAX_PER_WORKER = 2, 8
"""Maximum large responses in progress at a time."""

permits = Permits("large responses", per_user=MAX_PER_USER, per_worker=MAX_PER_WORKER)

R = TypeVar("R", bound=Response)


class Permit:
    """The permit of one request, acquired only if its response is large; leaving the `with` block releases it."""

    __slots__ = ("_held", "_user_id")

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._held: HeldPermit | None = None

    @property
    def held(self) -> bool:
        """True if the permit is held."""
        return self._held is not None

    def acquire_now(self) -> bool:
        """Acquire the permit without waiting, unless it is held; return True if it is held then, else False."""
        self._held = self._held or permits.acquire_now(self._user_id)
        return self._held is not None

    def acquire(self) -> None:
        """Acquire the permit, unless it is held already; wait, and raise errors, as `Permits.acquire` does."""
        self._held = self._held or permits.acquire(self._user_id)

    def allows(self, size: int) -> bool:
        """Return True if a response of `size` bytes may be made: it is small, or the permit is held or acquired now.

        Never waits (`acquire_now`).
        """
        return size <= LARGE_RESPONSE_BYTES or self.acquire_now()

    def hold_until_closed(self, response: R, size: int | None) -> R:
        """Return the response; if it is large and the permit is held, closing the response releases the permit.

        A `size` of None (unknown) is large. The permit of a small response is released at the end of the `with` block.
        """
        if self._held and (size is None or size > LARGE_RESPONSE_BYTES):
            response.call_on_close(self._held.release)
            self._held = None
        return response

    def __enter__(self) -> Permit:
        """Return this object; acquires nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the permit, unless it is not held or `hold_until_closed` has passed it to the response."""
        if self._held:
            self._held.release()


def with_large_response_permit(view: Callable[[], Response]) -> Callable[[], Response]:
    """Decorate a view that writes, and whose response may be large: it acquires a permit before it runs.

    Once it has written it cannot be refused, and it must not wait for a permit within its transaction. Waits, and
    raises `TooManyRequests` or `ServiceUnavailable`, as `Permits.acquire` does. If the response is not large, its
    permit is released with the return.
    """

    @wraps(view)
    def with_permit() -> Response:
        """Acquire a permit (waits, and raises, as `Permits.acquire` does), call the view, and return its response.

        A large response, or one of unknown length, holds the permit until it is closed; otherwise it is released here.
        """
        with Permit(g.user.id) as permit:
            permit.acquire()
            response = view()
            return permit.hold_until_closed(response, response.calculate_content_length())

    return with_permit
