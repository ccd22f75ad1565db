"""Clients that create tasks and record which were acknowledged: the proof that no task is lost or created twice."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.service import CLIENT_TIMEOUT, NO_RESPONSE, Service
from tests.conftest import token

RETRIED = frozenset({NO_RESPONSE, 409, 503})
"""Outcomes after which a client repeats its request: unknown outcome, first request still running, unavailable."""

DISCONNECT_EVERY = 8
"""A client closes the connection of each 8th request before the response arrives, as if the network had failed."""

FINISH_TIMEOUT = 60
"""Seconds in which a client must get its last request acknowledged once the fault is over."""


@dataclass
class Writer(threading.Thread):
    """Create one task after the other; with `keyed`, repeat each request with its Idempotency-Key until it is 201."""

    service: Service
    user: str
    keyed: bool = True
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The tasks in responses with 201, by title."""
    abandoned: set[str] = field(default_factory=set)
    """Titles that were not acknowledged and not sent again: such a task may exist once or not at all."""
    refused: set[str] = field(default_factory=set)
    """Titles of which a response said that nothing was changed."""
    outcomes: Counter[str | int] = field(default_factory=Counter)
    """Number of requests by status, or NO_RESPONSE."""
    disconnects: int = 0
    """Number of requests that the client itself broke off."""
    slowest: float = 0.0
    """Duration of the slowest request in seconds."""
    uncertain: int = 0
    """Number of responses that say that the change may or may not have been saved."""
    without_retry_after: list[bytes] = field(default_factory=list)
    """Bodies of failures that do not say when to try again."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._token = token(self.user)
        self._stopping = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    __hash__ = threading.Thread.__hash__

    def stop(self) -> None:
        """Start no further task; the current one is still finished."""
        self._stopping.set()

    def run(self) -> None:
        """Create tasks until `stop` is called."""
        while not self._stopping.is_set():
            self._create(f"{self.user}-{uuid.uuid4().hex}")
        self._close()

    def _create(self, title: str) -> None:
        deadline: float | None = None
        while True:
            outcome = self._send(title)
            if outcome == 201:
                return
            if self._stopping.is_set():
                deadline = deadline or time.monotonic() + FINISH_TIMEOUT
            late = deadline is not None and time.monotonic() > deadline
            if late or not self.keyed or outcome not in RETRIED:
                self.abandoned.add(title)
                return
            time.sleep(0.05)

    def _send(self, title: str) -> str | int:
        began = time.monotonic()
        outcome: str | int
        try:
            outcome = self._exchange(title)
        except (OSError, http.client.HTTPException):
            outcome = NO_RESPONSE
            self._close()
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        return outcome

    def _exchange(self, title: str) -> int:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if self.keyed:
            headers["Idempotency-Key"] = title
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=CLIENT_TIMEOUT)
        self._connection.request("POST", f"/api/{self.user}/tasks", json.dumps({"title": title}), headers)
        if self.outcomes.total() % DISCONNECT_EVERY == DISCONNECT_EVERY - 1:
            self.disconnects += 1
            raise ConnectionAbortedError
        response = self._connection.getresponse()
        body = response.read()
        is_uncertain = b"while the change was being saved" in body
        self.uncertain += is_uncertain
        if response.status == 201:
            self.acknowledged[title] = json.loads(body)
        elif response.status not in RETRIED or not response.headers["Retry-After"]:
            self.without_retry_after.append(body)
        return response.status

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(frozen=True)
class WriteLog:
    """The records of all writers, and their comparison with the tasks that the service returns afterwards."""

    writers: Sequence[Writer]

    @property
    def outcomes(self) -> Counter[str | int]:
        """Number of requests of all writers by status, or NO_RESPONSE."""
        return sum((writer.outcomes for writer in self.writers), Counter())

    @property
    def acknowledged(self) -> int:
        """Number of tasks of all writers that were acknowledged with 201."""
        return sum(len(writer.acknowledged) for writer in self.writers)

    @property
    def disconnects(self) -> int:
        """Number of requests that the clients broke off."""
        return sum(writer.disconnects for writer in self.writers)

    def audit(self) -> dict[str, Any]:
        """List all tasks and compare them with the records; the first four figures must be 0 (`assert_no_write_lost`)."""
        figures: Counter[str] = Counter(lost=0, doubled=0, altered=0, made_though_refused=0, made_unacknowledged=0)
        for writer in self.writers:
            stored: dict[str, list[dict[str, Any]]] = {}
            for task in all_tasks(writer.service, writer.user):
                stored.setdefault(task["title"], []).append(task)
            figures["doubled"] += sum(len(tasks) > 1 for tasks in stored.values())
            figures["lost"] += len(writer.acknowledged.keys() - stored.keys())
            figures["altered"] += sum(
                _differs(writer.acknowledged.get(title, {}), tasks[0]) for title, tasks in stored.items()
            )
            figures["made_though_refused"] += len(stored.keys() & writer.refused - writer.acknowledged.keys())
            figures["made_unacknowledged"] += len(stored.keys() - writer.acknowledged.keys())
        return {
            "acknowledged": self.acknowledged,
            "hung_up_by_client": self.disconnects,
            **figures,
            "abandoned": sum(len(writer.abandoned) for writer in self.writers),
            "uncertain": sum(writer.uncertain for writer in self.writers),
            "outcomes": {str(outcome): count for outcome, count in self.outcomes.items()},
            "slowest_request_s": round(max(writer.slowest for writer in self.writers), 2),
        }


def _differs(acknowledged: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Return True if a member that both have has another value: another release may have more members."""
    return any(stored[name] != value for name, value in acknowledged.items() if name in stored)


def all_tasks(service: Service, user: str) -> Iterator[dict[str, Any]]:
    """List all tasks of a user, page by page."""
    path: str | None = f"/api/{user}/tasks?limit=1000"
    while path:
        response = service.get(path, token(user))
        assert response.status == 200, response.body
        yield from response.json
        link = response.headers["Link"]
        path = link.partition(">")[0].lstrip("<") if link else None


@contextmanager
def writing(service: Service, count: int, *, keyed: bool = True) -> Iterator[WriteLog]:
    """Let `count` clients write while the block runs, each as its own user; they have stopped when it ends."""
    run = uuid.uuid4().hex[:8]  # new users in each run, so the database need not be empty
    log = WriteLog([Writer(service, f"writer-{run}-{number}", keyed) for number in range(count)])
    for writer in log.writers:
        writer.start()
    try:
        yield log
    finally:
        for writer in log.writers:
            writer.stop()
        for writer in log.writers:
            writer.join(FINISH_TIMEOUT + 2 * CLIENT_TIMEOUT)
            assert not writer.is_alive()


def assert_no_write_lost(figures: dict[str, Any]) -> None:
    """Assert that every acknowledged task exists exactly once, as it was acknowledged, and no refused one."""
    names = ("lost", "doubled", "altered", "made_though_refused")
    wrong = {name: figures[name] for name in names if figures[name]}
    assert not wrong, figures
