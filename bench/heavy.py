"""Repeat one large request of a user with 10,000 tasks on four connections, until standard input is closed.

`python -m bench.heavy PORT REQUEST` runs in a process of its own, so that its work is not measured as the service's.
At the end it prints how many responses of each status it got, as JSON.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, cycle
from typing import Any

from taskapi.http.fields.time import rfc3339

from .database import CREATED_AT
from .workloads import token

HEAVY = "heavy"
"""The id of the user who sends the large requests."""

TASKS = 10_000
"""The heavy user's tasks at the beginning: the default quota."""

CONNECTIONS = 4

IMPORTED = 2_000
"""Tasks of an import."""

TIMEOUT = 60
"""Seconds to wait for a response."""


@dataclass(frozen=True)
class Call:
    """One request; `path` follows `/api/{user_id}`."""

    method: str
    path: str
    body: Any = None


Calls = Callable[[int], Iterator[Call]]
"""The requests of one of the connections, which are numbered from 0. The last response is sent to the generator."""


def notes(number: int) -> str:
    """Return a description of ordinary length for a task: about 400 bytes."""
    return f"Note {number}: " + "what has to be done, by whom and until when, as people write it down. " * 5


def _repeat(*calls: Call) -> Calls:
    return lambda _connection: cycle(calls)


def _pages(_connection: int) -> Iterator[Call]:
    """Read the feed from its beginning to its end, again and again."""
    while True:
        response = yield Call("GET", "/changes?limit=1000")
        while response is not None and response.get("has_more"):
            response = yield Call("GET", f"/changes?limit=1000&since={response['next']}")


def _new_tasks(_connection: int) -> Iterator[Call]:
    tasks = [{"title": f"Imported {number}", "description": notes(number)} for number in range(IMPORTED)]
    while True:
        yield Call("DELETE", "")
        yield Call("POST", "/import", {"tasks": tasks})


def _stored(number: int) -> dict[str, Any]:
    """Return the members by which an import knows a stored task of the heavy user (`neighbours._add_user`)."""
    return {"user_id": HEAVY, "id": number, "created_at": rfc3339(CREATED_AT + timedelta(seconds=number))}


def _changed_tasks(connection: int) -> Iterator[Call]:
    ids = range(connection * IMPORTED + 1, (connection + 1) * IMPORTED + 1)
    for turn in count():
        tasks = [
            {**_stored(number), "title": f"Task {number} in turn {turn}", "description": notes(number)}
            for number in ids
        ]
        yield Call("POST", "/import", {"tasks": tasks})


def _unchanged_tasks(connection: int) -> Iterator[Call]:
    ids = range(connection * IMPORTED + 1, (connection + 1) * IMPORTED + 1)
    body = {"tasks": [{**_stored(number), "title": f"Unchanged {number}"} for number in ids]}
    while True:
        yield Call("POST", "/import", body)


def _batches(connection: int) -> Iterator[Call]:
    ids = range(connection * 100 + 1, (connection + 1) * 100 + 1)
    for turn in count():
        operations = [{"op": "update", "id": number, "task": {"title": f"In turn {turn}"}} for number in ids]
        yield Call("POST", "/tasks/batch", {"operations": operations})


def _moves(connection: int) -> Iterator[Call]:
    """Move two tasks in turn to one place: their positions get longer until all tasks are renumbered."""
    first = connection * 100 + 1
    for turn in count():
        yield Call("POST", f"/tasks/{first + 1 + turn % 2}/move", {"after": first})


KEYS = ("created_at", "updated_at", "title", "priority", "position", "due")
SORTS = tuple(f"{sign}{key}" for key in KEYS for sign in ("", "-"))

REQUESTS: Mapping[str, Calls] = {
    "nothing": lambda _connection: iter(()),
    "ICS export": _repeat(Call("GET", "/export?format=ics")),
    "CSV export": _repeat(Call("GET", "/export?format=csv")),
    "JSON export": _repeat(Call("GET", "/export?format=json")),
    "import of 2,000 new tasks, and erase": _new_tasks,
    "import that changes 2,000 tasks": _changed_tasks,
    "import of 2,000 unchanged tasks": _unchanged_tasks,
    "batch of 100 changes": _batches,
    "list of 1,000": _repeat(Call("GET", "/tasks?limit=1000")),
    "list of 1,000 in every order": _repeat(*(Call("GET", f"/tasks?limit=1000&sort={sort}") for sort in SORTS)),
    "search without a match": _repeat(Call("GET", "/tasks?q=" + "zq" * 100)),
    "stats": _repeat(Call("GET", "/stats?tz=Europe/Berlin")),
    "change feed from the beginning": _pages,
    "move, with renumbering": _moves,
}
"""The large requests by the names that the report has."""


class _Connection(threading.Thread):
    """One connection, which sends its next request as soon as the last response is complete."""

    def __init__(self, port: int, calls: Iterator[Call], ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._calls, self._ended = calls, ended
        self._headers = {"Authorization": f"Bearer {token(HEAVY)}", "Content-Type": "application/json"}
        self.statuses: Counter[str] = Counter()

    def run(self) -> None:
        calls, response = self._calls, None
        call = next(calls, None)
        while call is not None and not self._ended.is_set():
            response = self._send(call)
            try:
                call = calls.send(response) if hasattr(calls, "send") else next(calls)
            except StopIteration:
                return

    def _send(self, call: Call) -> Any:
        """Send a request; return the JSON of its response, None if it is something else. Wait as a 429 asks for."""
        body = None if call.body is None else json.dumps(call.body)
        while not self._ended.is_set():
            try:
                self._http.request(call.method, f"/api/{HEAVY}{call.path}", body, self._headers)
                response = self._http.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                self.statuses[type(error).__name__] += 1
                return None
            self.statuses[str(response.status)] += 1
            if response.status not in (429, 503):
                is_json = response.headers.get("Content-Type", "").startswith("application/json")
                return json.loads(content) if is_json and call.path.startswith("/changes") else None
            self._ended.wait(float(response.headers.get("Retry-After", "1")))
        return None


def main(port: str, name: str) -> None:
    """Repeat the request until standard input is closed, then print the statuses of the responses."""
    ended = threading.Event()
    connections = [_Connection(int(port), REQUESTS[name](number), ended) for number in range(CONNECTIONS)]
    for connection in connections:
        connection.start()
    sys.stdin.read()
    ended.set()
    for connection in connections:
        connection.join(TIMEOUT)
    print(json.dumps(sum((connection.statuses for connection in connections), Counter())))


if __name__ == "__main__":
    main(*sys.argv[1:])
