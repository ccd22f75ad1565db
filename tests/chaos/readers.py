"""Clients that list tasks again and again and record the time and status of each response."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.chaos.service import CLIENT_TIMEOUT, NO_RESPONSE, Service
from tests.conftest import token
from tests.waiting import until

RECOVERY_TIMEOUT = 60
"""Seconds in which all readers must be served again once the fault is over; a limit of the tests."""


@dataclass(frozen=True)
class TimedRequest:
    """A request with its start and end, in seconds of the monotonic clock."""

    began: float
    ended: float
    status: str | int
    retry_after: bool

    @property
    def duration(self) -> float:
        """Seconds from sending the request to the end of the response."""
        return self.ended - self.began


@dataclass
class Reader(threading.Thread):
    """List the first 20 tasks of a user again and again, each time on a new connection."""

    service: Service
    user: str
    requests: list[TimedRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._token = token(self.user)
        self._stopping = threading.Event()

    __hash__ = threading.Thread.__hash__

    def stop(self) -> None:
        """Send no further request."""
        self._stopping.set()

    def run(self) -> None:
        """Send requests until `stop` is called."""
        while not self._stopping.is_set():
            began = time.monotonic()
            status: str | int
            try:
                response = self.service.get(f"/api/{self.user}/tasks?limit=20", self._token)
                status, retry_after = response.status, bool(response.headers["Retry-After"])
            except (OSError, http.client.HTTPException):
                status, retry_after = NO_RESPONSE, False
            self.requests.append(TimedRequest(began, time.monotonic(), status, retry_after))
            time.sleep(0.02)


@dataclass(frozen=True)
class ReadLog:
    """The requests of all readers."""

    readers: Sequence[Reader]

    @property
    def requests(self) -> list[TimedRequest]:
        """The requests of all readers that have ended."""
        return [request for reader in self.readers for request in reader.requests]

    def between(self, begin: float, end: float) -> list[TimedRequest]:
        """Return the requests that began and ended between two times of the monotonic clock."""
        return [request for request in self.requests if begin < request.began and request.ended < end]

    def recovery_time(self, restored: float) -> float:
        """Wait until all readers are served again; return the seconds from `restored` to the end of the last failure."""

        def all_served() -> bool:
            return all(sum(request.began > restored for request in reader.requests) >= 20 for reader in self.readers)

        until(all_served, RECOVERY_TIMEOUT)
        failed = [request for request in self.requests if request.ended > restored and request.status != 200]
        return max((request.ended - restored for request in failed), default=0.0)

    def in_progress(self, since: float, at: float) -> list[TimedRequest]:
        """Return the requests that began before `since` and had not ended at `at`."""
        return [request for request in self.requests if request.began < since and request.ended > at]

    def slowest(self) -> float:
        """Return the duration of the slowest request in seconds."""
        return max(request.duration for request in self.requests)


@contextmanager
def reading(service: Service, count: int) -> Iterator[ReadLog]:
    """Let `count` clients read while the block runs."""
    log = ReadLog([Reader(service, f"reader-{number}") for number in range(count)])
    for reader in log.readers:
        reader.start()
    try:
        yield log
    finally:
        for reader in log.readers:
            reader.stop()
        for reader in log.readers:
            reader.join(2 * CLIENT_TIMEOUT)
            assert not reader.is_alive()
