"""Load on SQLite that could block a worker: slow searches, and a write lock that another process holds."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.chaos.failures import LOAD_ALLOWANCE
from tests.chaos.other_clients import probe_other_clients
from tests.chaos.service import CLIENT_TIMEOUT, Service, run_service
from tests.conftest import token

SEARCHER = "searcher"
SLOWEST_SEARCH = "a" * 10_000, "a" * 199 + "b"
"""A description and a search term that compares 200 characters at each position of the description."""

WRITE_LIMIT = 5.0
"""Seconds within which the service responds to a write although the write lock is held."""


def search_long_descriptions(
    url: str, *, tasks: int, searches: int, seconds: float, quiet: float = 3
) -> dict[str, Any]:
    """Search long descriptions of one user on `searches` connections without a pause, while others are probed."""
    _add_tasks(url, tasks)
    path = f"/api/{SEARCHER}/tasks?limit=100&sort=title&include=total&q={SLOWEST_SEARCH[1]}"
    with run_service(url, workers=1) as running:
        attack = _repeat_requests(running, searches, ("GET", path, SEARCHER, None))
        figures = probe_other_clients(running, seconds, attack, quiet=quiet)
    assert set(figures["attack_outcomes"]) <= {"200", "429", "503"}, figures
    return {"tasks": tasks, "connections": searches, **figures}


def hold_write_lock(url: str, *, held: float, writers: int, seconds: float, quiet: float = 3) -> dict[str, Any]:
    """Hold SQLite's write lock from another connection for `held` seconds at a time, while clients write."""
    with run_service(url, workers=1) as running:

        def hold(over: threading.Event) -> Mapping[str, Any]:
            with closing(sqlite3.connect(_file(url), isolation_level=None, timeout=CLIENT_TIMEOUT)) as connection:
                while not over.is_set():
                    connection.execute("BEGIN IMMEDIATE")
                    over.wait(held)
                    connection.execute("ROLLBACK")
                    over.wait(0.3)
            return {}

        write = _repeat_requests(running, writers, ("POST", "/api/writer/tasks", "writer", {"title": "T"}))

        def attack(over: threading.Event) -> Mapping[str, Any]:
            with ThreadPoolExecutor(1) as pool:
                holding = pool.submit(hold, over)
                return {**write(over), **holding.result(CLIENT_TIMEOUT)}

        figures = probe_other_clients(running, seconds, attack, quiet=quiet)
    assert set(figures["attack_outcomes"]) <= {"201", "503"}, figures
    assert figures["attack_longest_s"] < WRITE_LIMIT + LOAD_ALLOWANCE, figures
    return {"held_s": held, "writers": writers, **figures}


def _repeat_requests(
    running: Service, clients: int, request: tuple[str, str, str, Any]
) -> Callable[[threading.Event], dict[str, Any]]:
    """Send a request (method, path, user, JSON body) again and again on each of `clients` connections."""
    outcomes: Counter[str] = Counter()
    durations = [0.0]

    def send(over: threading.Event) -> None:
        method, path, user, content = request
        headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=CLIENT_TIMEOUT)) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.request(method, path, content and json.dumps(content), headers)
                response = connection.getresponse()
                response.read()
                durations.append(time.monotonic() - began)
                outcomes[str(response.status)] += 1
                if response.status in (429, 503):
                    over.wait(0.2)

    def attack(over: threading.Event) -> dict[str, Any]:
        with ThreadPoolExecutor(clients) as pool:
            for sending in [pool.submit(send, over) for _ in range(clients)]:
                sending.result(10 * CLIENT_TIMEOUT)
        return {"attack_outcomes": dict(outcomes), "attack_longest_s": round(max(durations), 2)}

    return attack


def _file(url: str) -> Path:
    return Path(make_url(url).database or "")


def _add_tasks(url: str, count: int) -> None:
    """Insert tasks with long descriptions directly: through the API they would need many requests of 1 MiB."""
    row = ("user_id", "id", "revision", "title", "description", "completed", "created_at", "updated_at")
    columns = (*row, "folded_title", "folded_description")
    written_at, (text, _) = "2026-11-21 09:30:15.000000", SLOWEST_SEARCH
    rows = [
        (SEARCHER, n, n, f"T{n}", text, False, written_at, written_at, f"t{n * 7919 % count}", text)
        for n in range(1, count + 1)
    ]
    with closing(sqlite3.connect(_file(url))) as database, database:
        marks = ",".join("?" * len(columns))
        database.executemany(f"INSERT INTO tasks ({','.join(columns)}) VALUES ({marks})", rows)
        counters = (SEARCHER, count, count, count, "e")
        database.execute(
            "INSERT INTO users (user_id, revision, last_task_id, live_tasks, epoch) VALUES (?, ?, ?, ?, ?)", counters
        )
