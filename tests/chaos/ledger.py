"""Clients that write, and keep a ledger of what was acknowledged: the proof that nothing is lost or done twice."""

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

from tests.chaos.service import PATIENCE, Service
from tests.conftest import token
from tests.waiting import until

DOUBT = "hung up"
"""In place of a status: the connection ended before an answer came."""

RETRY = frozenset({DOUBT, 409, 503})
"""After these a client repeats: in doubt, a first request under way, and away for now."""

HANGING_UP = 8
"""Each time after so many requests a client hangs up before the answer comes: it was carried out, and nobody knows."""

FINISHING = 60
"""Seconds that a client may need to get its last request through when the trouble is over."""


@dataclass
class Writer(threading.Thread):
    """Somebody who adds one task after the other, and repeats each with its key until it is acknowledged."""

    service: Service
    user: str
    keyed: bool = True
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By title: what was answered with 201."""
    abandoned: set[str] = field(default_factory=set)
    """Titles that were sent once, without a key, and not acknowledged: they may be there or not, but not twice."""
    outcomes: Counter[str | int] = field(default_factory=Counter)
    hung_up: int = 0
    longest: float = 0.0
    """Seconds that the slowest single request took."""
    uncertain: int = 0
    """Answers that leave open whether the change was saved."""
    unspecific: list[bytes] = field(default_factory=list)
    """Bodies of answers that no client can do anything with."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._token = token(self.user)
        self._ending = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    __hash__ = threading.Thread.__hash__

    def end(self) -> None:
        """Begin nothing new; what is under way is brought to its end."""
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            title = f"{self.user}-{uuid.uuid4().hex}"
            self._bring_about(title)
        self._hang_up()

    def _bring_about(self, title: str) -> None:
        deadline: float | None = None
        while True:
            outcome = self._send(title)
            if outcome == 201:
                return
            if not self.keyed or outcome not in RETRY:
                self.abandoned.add(title)
                return
            if self._ending.is_set():
                deadline = deadline or time.monotonic() + FINISHING
                if time.monotonic() > deadline:
                    self.abandoned.add(title)
                    return
            time.sleep(0.05)

    def _send(self, title: str) -> str | int:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if self.keyed:
            headers["Idempotency-Key"] = title
        began = time.monotonic()
        outcome: str | int
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
            self._connection.request("POST", f"/api/{self.user}/tasks", json.dumps({"title": title}), headers)
            if self.outcomes.total() % HANGING_UP == HANGING_UP - 1:
                self.hung_up += 1
                raise ConnectionAbortedError
            response = self._connection.getresponse()
            body = response.read()
            outcome = response.status
            self.uncertain += b"while the change was being saved" in body
            if outcome == 201:
                self.acknowledged[title] = json.loads(body)
            elif outcome not in RETRY or not response.headers["Retry-After"]:
                self.unspecific.append(body)
        except (OSError, http.client.HTTPException):
            outcome = DOUBT
            self._hang_up()
        self.outcomes[outcome] += 1
        self.longest = max(self.longest, time.monotonic() - began)
        return outcome

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(frozen=True)
class Ledger:
    """All writers together, and what the service says when it is asked afterwards."""

    writers: Sequence[Writer]

    @property
    def outcomes(self) -> Counter[str | int]:
        return sum((writer.outcomes for writer in self.writers), Counter())

    @property
    def acknowledged(self) -> int:
        return sum(len(writer.acknowledged) for writer in self.writers)

    @property
    def hung_up(self) -> int:
        """How often the client itself ended the connection before the answer came."""
        return sum(writer.hung_up for writer in self.writers)

    def audit(self) -> dict[str, Any]:
        """The figures; `lost`, `altered` and `doubled` are what must be zero."""
        figures: Counter[str] = Counter(lost=0, doubled=0, altered=0, made_unacknowledged=0)
        for writer in self.writers:
            there: dict[str, list[dict[str, Any]]] = {}
            for task in _everything(writer):
                there.setdefault(task["title"], []).append(task)
            figures["doubled"] += sum(len(tasks) > 1 for tasks in there.values())
            figures["lost"] += len(writer.acknowledged.keys() - there.keys())
            figures["altered"] += sum(
                writer.acknowledged.get(title, tasks[0]) != tasks[0] for title, tasks in there.items()
            )
            figures["made_unacknowledged"] += len(there.keys() - writer.acknowledged.keys())
        return {
            "acknowledged": self.acknowledged,
            "hung_up_by_client": self.hung_up,
            **figures,
            "abandoned": sum(len(writer.abandoned) for writer in self.writers),
            "uncertain": sum(writer.uncertain for writer in self.writers),
            "outcomes": {str(outcome): count for outcome, count in self.outcomes.items()},
            "slowest_request_s": round(max(writer.longest for writer in self.writers), 2),
        }


def _everything(writer: Writer) -> Iterator[dict[str, Any]]:
    path: str | None = f"/api/{writer.user}/tasks?limit=1000"
    while path:
        answer = writer.service.ask(path, token(writer.user))
        assert answer.status == 200, answer.body
        yield from answer.json
        link = answer.headers["Link"]
        path = link.partition(">")[0].lstrip("<") if link else None


@dataclass(frozen=True)
class Asked:
    """A request of a reader, and when it was under way (by the monotonic clock)."""

    began: float
    ended: float
    status: str | int
    retry_after: bool

    @property
    def took(self) -> float:
        return self.ended - self.began


@dataclass
class Reader(threading.Thread):
    """Somebody who lists the own tasks over and over, on a connection of its own each time."""

    service: Service
    user: str
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._token = token(self.user)
        self._ending = threading.Event()

    __hash__ = threading.Thread.__hash__

    def end(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            status: str | int
            try:
                answer = self.service.ask(f"/api/{self.user}/tasks?limit=20", self._token)
                status, retry_after = answer.status, bool(answer.headers["Retry-After"])
            except (OSError, http.client.HTTPException):
                status, retry_after = DOUBT, False
            self.asked.append(Asked(began, time.monotonic(), status, retry_after))
            time.sleep(0.02)


@dataclass(frozen=True)
class Diary:
    """What all readers were answered."""

    readers: Sequence[Reader]

    def during(self, begin: float, end: float) -> list[Asked]:
        """The requests that began and ended between."""
        return [one for reader in self.readers for one in reader.asked if begin < one.began and one.ended < end]

    def healed_after(self, back: float) -> float:
        """Seconds until the last request was answered that did not succeed; waits until all readers were served again."""
        until(lambda: all(sum(one.began > back for one in reader.asked) >= 20 for reader in self.readers), FINISHING)
        failed = [one for reader in self.readers for one in reader.asked if one.ended > back and one.status != 200]
        return max((one.ended - back for one in failed), default=0.0)

    def over(self, since: float, moment: float) -> list[Asked]:
        """The requests that were under way at a moment, from before another."""
        return [one for reader in self.readers for one in reader.asked if one.began < since and one.ended > moment]

    def slowest(self) -> float:
        return max(one.took for reader in self.readers for one in reader.asked)


@contextmanager
def reading(service: Service, count: int) -> Iterator[Diary]:
    """So many clients read while the block runs."""
    diary = Diary([Reader(service, f"reader-{number}") for number in range(count)])
    for reader in diary.readers:
        reader.start()
    try:
        yield diary
    finally:
        for reader in diary.readers:
            reader.end()
        for reader in diary.readers:
            reader.join(2 * PATIENCE)
            assert not reader.is_alive()


@contextmanager
def writing(service: Service, count: int, *, keyed: bool = True) -> Iterator[Ledger]:
    """So many clients write while the block runs, each as a user of its own; they have ended when it has."""
    run = uuid.uuid4().hex[:8]  # nobody has to empty the database before
    ledger = Ledger([Writer(service, f"writer-{run}-{number}", keyed) for number in range(count)])
    for writer in ledger.writers:
        writer.start()
    try:
        yield ledger
    finally:
        for writer in ledger.writers:
            writer.end()
        for writer in ledger.writers:
            writer.join(FINISHING + 2 * PATIENCE)
            assert not writer.is_alive()


def assert_nothing_lost(figures: dict[str, Any]) -> None:
    wrong = {name: figures[name] for name in ("lost", "doubled", "altered") if figures[name]}
    assert not wrong, figures
