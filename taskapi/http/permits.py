"""Permits limit how many requests of one kind a user, and a worker, have in progress; others wait or are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import g

from ..concurrency import slots
from ..concurrency.lanes import Lane, LaneTimeout
from ..telemetry.metrics import TOO_MANY_REQUESTS
from .errors import RETRY_AFTER, ServiceUnavailable, TooManyRequests

PERMIT_TIMEOUT = 2.0
"""Seconds to wait for a permit, without a concurrency slot, before the request is refused."""

P = ParamSpec("P")

R = TypeVar("R")


class Permits:
    """The permits of this process for one `kind` of requests, named in the plural, such as "imports".

    A request must not wait for a permit in a transaction, nor while it holds another one of the same kind. Different
    kinds are acquired in one order: large bodies, imports, large responses, long reads or writes.
    """

    def __init__(self, kind: str, *, per_user: int, per_worker: int) -> None:
        self._kind, self._per_user = kind, per_user
        self._lane = Lane(per_worker, per_user)

    def acquire_now(self, user_id: str) -> HeldPermit | None:
        """Acquire a permit without waiting; None if none is free or the user holds `per_user`."""
        return HeldPermit(self._lane, user_id) if self._lane.acquire_now(user_id) else None

    def acquire(self, user_id: str, timeout: float | None = None) -> HeldPermit:
        """Acquire a permit; wait for one without the slot, up to `timeout` seconds (None: `PERMIT_TIMEOUT`).

        Waiting users are served in turn. After the timeout, or at once if too many requests wait (lanes.py), raises
        `TooManyRequests` if the user holds `per_user` permits, otherwise `ServiceUnavailable`.
        """
        return self.acquire_now(user_id) or self._wait(user_id, PERMIT_TIMEOUT if timeout is None else timeout)

    def _wait(self, user_id: str, timeout: float) -> HeldPermit:
        """Wait up to `timeout` seconds for a permit, without the concurrency slot; return it, or raise as `acquire`.

        In either case waits for a slot again first, without a time limit.
        """
        try:
            with slots.released():
                self._lane.acquire(time.monotonic() + timeout, user_id)
                return HeldPermit(self._lane, user_id)
        except LaneTimeout as error:
            if self._lane.is_full_for(user_id):
                TOO_MANY_REQUESTS.add("in_progress")
                detail = f"You have {self._per_user} {self._kind} in progress. Let one end, then repeat the request."
                raise TooManyRequests(detail, headers=RETRY_AFTER) from error
            detail = f"Too many {self._kind} are in progress. Try again shortly."
            raise ServiceUnavailable(detail, headers=RETRY_AFTER) from error

    def limit(self, work: Callable[P, R]) -> Callable[P, R]:
        """Decorate a view, or a part of one, to run with a permit of `g.user`, released at its return.

        A call waits for the permit and raises as `acquire` does.
        """

        @wraps(work)
        def with_permit(*args: P.args, **kwargs: P.kwargs) -> R:
            """Wait for a permit of `g.user`, call the decorated function, release the permit; raise as `acquire`."""
            with self.acquire(g.user.id):
                return work(*args, **kwargs)

        return with_permit


class HeldPermit:
    """A permit that is held until `release`, the end of a `with` block, or at the latest its garbage collection.

    Flask never closes a response that an error response replaces because a hook after the view failed.
    """

    def __init__(self, lane: Lane, user_id: str) -> None:
        self._lane, self._user_id = lane, user_id
        self._released = False

    def release(self) -> None:
        """Release the permit; a second call has no effect."""
        if not self._released:
            self._released = True
            self._lane.release(self._user_id)

    def __enter__(self) -> None:
        """Do nothing: the permit is held already."""

    def __exit__(self, *_: object) -> None:
        """Release the permit."""
        self.release()

    def __del__(self) -> None:
        """Release the permit if that has not been done."""
        self.release()
