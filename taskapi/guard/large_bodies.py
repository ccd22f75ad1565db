"""Limit the memory for large request bodies: how many of them a user, and a worker, may have in progress.

While a body is received its request holds no concurrency slot, so slots do not limit how many are in memory: 900
connections could send a megabyte each, slowly. A request whose body may be large (an import, a batch) holds a permit
from before its body is read until its response has been sent: the body stays in memory until then.
"""

from __future__ import annotations

from flask import Response, after_this_request

from ..auth.tokens import User
from ..http.permits import Permits

MAX_PER_USER, MAX_PER_WORKER = 2, 6
"""Maximum large bodies in progress at a time. Six of 16 MiB, the longest of an import, take 107 MB, with or without
Content-Length, and at the moment when one is complete, and copied, 124 MB."""

permits = Permits("large request bodies", per_user=MAX_PER_USER, per_worker=MAX_PER_WORKER)


def hold_permit(user: User) -> None:
    """Acquire a permit for a large body, held until the response of the current request is closed.

    Waits, and raises errors, as `Permits.acquire` does.
    """
    held = permits.acquire(user.id)

    @after_this_request
    def release_when_closed(response: Response) -> Response:
        """Let the response release the permit when it is closed; return it (after_this_request function)."""
        response.call_on_close(held.release)
        return response
