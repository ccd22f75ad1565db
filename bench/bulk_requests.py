"""Send the bulk requests of one user with 10,000 tasks to the application in this process, and measure each.

`bench.bulk` runs this file with the checkout to be measured as the working directory. After each request it prints a
line of JSON and waits for a line, so that the parent reads its counter of round trips in between.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt

from taskapi import create_app
from taskapi.config.settings import Config
from taskapi.database.sqlite import SQLiteConnection

SECRET, USER = "a-secret-of-the-benchmark-that-is-long-enough", "bulk"

TASKS, OPERATIONS = 10_000, 100

transactions: list[float] = []
"""Seconds of processor time for which each transaction since the last request held SQLite's write lock."""


def tasks(title: str, owner: str = USER) -> list[dict[str, Any]]:
    """Return the tasks of an import, with notes of 400 bytes; those of one owner are the same tasks each time."""
    notes = "What has to be done, by whom and until when, as people write it down. " * 5
    return [
        {
            "user_id": owner,
            "id": number,
            "title": f"{title} {number}",
            "description": f"Note {number}: {notes}",
            "tags": ["home"],
            "created_at": f"2026-01-01T00:00:00.{number % 1000:03}Z",
        }
        for number in range(1, TASKS + 1)
    ]


def batch(kinds: str) -> bytes:
    """Return the body of a batch of operations on different tasks; `kinds` are taken in turn."""
    make: dict[str, Callable[[int], dict[str, Any]]] = {
        "create": lambda number: {"op": "create", "task": {"title": f"New {number}"}},
        "update": lambda number: {"op": "update", "id": number, "task": {"title": f"Changed {number} {kinds}"}},
        "complete": lambda number: {"op": "complete", "id": 1000 + number, "completed": "delete" not in kinds},
        "delete": lambda number: {"op": "delete", "id": (3000 if " " in kinds else 2000) + number},
    }
    names = kinds.split()
    return json.dumps(
        {"operations": [make[names[number % len(names)]](number + 1) for number in range(OPERATIONS)]}
    ).encode()


class Sender:
    """Sends requests to the application."""

    def __init__(self, url: str) -> None:
        settings = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "RATE_LIMIT": "off"}
        self.client = create_app(Config.from_env({**settings, "MAX_TASKS_PER_USER": "40000"})).test_client()
        token = jwt.encode({"sub": USER, "exp": int(time.time()) + 900}, SECRET, "HS256")
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the response."""
        response = self.client.open(f"/api/{USER}{path}", method=method, data=body, headers=self.headers)
        return response.status_code, response.data

    def import_export(self, form: str, media_type: str) -> None:
        """Import the export in a format, which changes nothing; the export is not measured."""
        _, body = self.send("GET", f"/export?format={form}")
        headers = {**self.headers, "Content-Type": media_type}
        measure(
            f"import, {form.upper()}",
            lambda: self.client.post(f"/api/{USER}/import", data=body, headers=headers).status_code,
        )

    def import_all(self, items: list[dict[str, Any]]) -> None:
        """Import tasks, in two halves if the body is too long."""
        status, _ = self.send("POST", "/import", json.dumps({"tasks": items}).encode())
        if status == 413:
            self.import_all(items[: len(items) // 2])
            self.import_all(items[len(items) // 2 :])
        elif status != 200:
            raise SystemExit(f"import: {status}")


def measure(name: str, action: Callable[[], object]) -> None:
    """Call `action` and print its processor time, longest transaction and the peak of memory so far."""
    gc.collect()
    transactions.clear()
    before = time.process_time()
    action()
    figures = {
        "cpu": time.process_time() - before,
        "lock": max(transactions, default=0),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps({"name": name, **figures}), flush=True)
    sys.stdin.readline()


def record_transactions() -> None:
    """Measure how long transactions hold SQLite's write lock."""
    begin, commit = SQLiteConnection.begin, SQLiteConnection.commit
    started = [0.0]

    def timed_begin(connection: SQLiteConnection) -> None:
        begin(connection)
        started[0] = time.process_time()

    def timed_commit(connection: SQLiteConnection) -> None:
        writes = connection.in_transaction
        commit(connection)
        if writes:
            transactions.append(time.process_time() - started[0])

    setattr(SQLiteConnection, "begin", timed_begin)  # noqa: B010
    setattr(SQLiteConnection, "commit", timed_commit)  # noqa: B010


def main(url: str) -> None:
    """Measure all requests in order; each kind is sent once before it is measured, on few tasks."""
    record_transactions()
    sender = Sender(url)
    sender.import_all([{"title": "first"}, {"id": TASKS, "title": "second"}])
    sender.import_all([{"id": TASKS, "title": "changed"}])
    for form in ("json", "csv", "ics"):
        sender.send("GET", f"/export?format={form}")
    sender.send("DELETE", "")
    measure("nothing", lambda: None)
    measure("import, new", lambda: sender.import_all(tasks("New")))
    measure("import, changed", lambda: sender.import_all(tasks("Changed")))
    measure("import, unchanged", lambda: sender.import_all(tasks("Changed")))
    for form in ("ics", "csv", "json"):
        measure(f"export, {form.upper()}", partial(sender.send, "GET", f"/export?format={form}"))
    for form, media_type in (("csv", "text/csv"), ("ics", "text/calendar")):
        sender.import_export(form, media_type)
    for kinds in ("create", "update", "complete", "delete", "create update complete delete"):
        name = "batch, " + kinds.replace(" ", " + ")
        measure(name, partial(sender.send, "POST", "/tasks/batch", batch(kinds)))
    measure("import, renumbered", lambda: sender.import_all(tasks("New", "other")))


if __name__ == "__main__":
    main(*sys.argv[1:])
