"""Limit the memory for large request bodies: how many of them a user, and a worker, may have in progress.

While a body is received its request holds no concurrency slot, so slots do not limit how many are in memory: 900
connections could send a megabyte each, slowly. A request whose body may be large (an import, a batch) holds a permit
from before its body is read until its response is ready.
"""

from __future__ import annotations

from flask import Response, after_this_request

from ..auth.tokens import User
from ..concurrency import slots
from ..http.errors import RETRY_AFTER, ServiceUnavailable, TooManyRequests
from ..http.large_responses import PERMIT_TIMEOUT, HeldPermit, Permits

MAX_PER_USER, MAX_PER_WORKER = 2, 16
"""Maximum large bodies in progress at a time."""

permits = Permits(MAX_PER_USER, MAX_PER_WORKER)
"""The permits of this process."""


def hold_permit(user: User) -> None:
    """Acquire a permit, and release it when the response of the current request is ready.

    Waits up to `PERMIT_TIMEOUT` seconds without the concurrency slot. Raises `TooManyRequests` or
    `ServiceUnavailable`.
    """
    taken = permits.acquire(user.id)
    if taken is None:
        with slots.released():
            taken = permits.wait(user.id, PERMIT_TIMEOUT)
    if taken is None:
        if permits.held_by(user.id) < MAX_PER_USER:
            raise ServiceUnavailable(
                "Too many large bodies are being received. Try again shortly.", headers=RETRY_AFTER
            )
        detail = (
            f"{MAX_PER_USER} large requests of yours are in progress. Wait for their responses, then repeat this one."
        )
        raise TooManyRequests(detail, headers=RETRY_AFTER)
    _release_afterwards(taken)


def _release_afterwards(taken: HeldPermit) -> None:
    """Release a permit in an `after_this_request` hook."""

    @after_this_request
    def release(response: Response) -> Response:
        taken.release()
        return response
