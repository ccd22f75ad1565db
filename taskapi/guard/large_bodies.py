"""Bound the memory of large request bodies: a user, and a worker, has a limited number of them in progress.

While a body is received its request holds no concurrency slot, so slots do not limit how many are in memory: 900
connections could send a megabyte each, slowly. A request whose body may be large (an import, a batch) holds a permit
from before its body is read until its response is ready.
"""

from __future__ import annotations

from flask import Response, after_this_request

from ..auth.tokens import User
from ..concurrency import slots
from ..http.errors import RETRY_AFTER, ServiceUnavailable, TooManyRequests
from ..http.large_responses import WAIT, Permits, Taken

PER_USER, PER_WORKER = 2, 16
"""Large bodies in progress at a time."""

permits = Permits(PER_USER, PER_WORKER)
"""Those of this process."""


def hold_permit(user: User) -> None:
    """Hold a permit until the response of the current request is ready.

    Waits up to `WAIT` seconds without the concurrency slot. Raises `TooManyRequests` and `ServiceUnavailable`.
    """
    taken = permits.take(user.id)
    if taken is None:
        with slots.released():
            taken = permits.wait(user.id, WAIT)
    if taken is None:
        if permits.held_by(user.id) < PER_USER:
            raise ServiceUnavailable(
                "Too many large bodies are being received. Try again shortly.", headers=RETRY_AFTER
            )
        detail = f"{PER_USER} large requests of yours are in progress. Wait for their responses, then repeat this one."
        raise TooManyRequests(detail, headers=RETRY_AFTER)
    _release_afterwards(taken)


def _release_afterwards(taken: Taken) -> None:
    @after_this_request
    def release(response: Response) -> Response:
        taken.release()
        return response
