"""Attacks on a worker by way of SQLite: long searches, and a write lock that another process holds."""

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

from tests.chaos.neighbours import probe_neighbours
from tests.chaos.service import PATIENCE, Service, service
from tests.conftest import token

SEARCHER = "searcher"
WORST = "a" * 10_000, "a" * 199 + "b"
"""A description and a search that compares 200 characters at each of its positions."""

WRITE_LIMIT = 6.5
"""Seconds within which a writer is answered: 5 are promised, the rest is the machine's."""


def search_long_descriptions(url: str, *, tasks: int, searches: int, seconds: float) -> dict[str, Any]:
    """One user searches long descriptions on several connections, without a pause."""
    _fill(url, tasks)
    path = f"/api/{SEARCHER}/tasks?limit=100&sort=title&include=total&q={WORST[1]}"
    with service(url, workers=1) as running:
        figures = probe_neighbours(running, seconds, _attack(running, searches, lambda: ("GET", path, SEARCHER, None)))
    assert set(figures["attack_outcomes"]) <= {"200", "503"}, figures
    return {"tasks": tasks, "connections": searches, **figures}


def hold_write_lock(url: str, *, held: float, writers: int, seconds: float) -> dict[str, Any]:
    """Another process holds SQLite's write lock for `held` seconds at a time while clients write."""
    with service(url, workers=1) as running:

        def hold(over: threading.Event) -> Mapping[str, Any]:
            with closing(sqlite3.connect(_file(url), isolation_level=None, timeout=PATIENCE)) as other:
                while not over.is_set():
                    other.execute("BEGIN IMMEDIATE")
                    over.wait(held)
                    other.execute("ROLLBACK")
                    over.wait(0.3)
            return {}

        def write() -> tuple[str, str, str, Any]:
            return "POST", "/api/writer/tasks", "writer", {"title": "T"}

        def attack(over: threading.Event) -> Mapping[str, Any]:
            with ThreadPoolExecutor(1) as pool:
                holding = pool.submit(hold, over)
                return {**_attack(running, writers, write)(over), **holding.result(PATIENCE)}

        figures = probe_neighbours(running, seconds, attack)
    assert set(figures["attack_outcomes"]) <= {"201", "503"}, figures
    assert figures["attack_longest_s"] < WRITE_LIMIT, figures
    return {"held_s": held, "writers": writers, **figures}


def _attack(
    running: Service, clients: int, request: Callable[[], tuple[str, str, str, Any]]
) -> Callable[[threading.Event], dict[str, Any]]:
    """Send requests on so many connections, one after the other on each."""
    outcomes: Counter[str] = Counter()
    took = [0.0]

    def send(over: threading.Event) -> None:
        method, path, user, content = request()
        headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.request(method, path, content and json.dumps(content), headers)
                response = connection.getresponse()
                response.read()
                took.append(time.monotonic() - began)
                outcomes[str(response.status)] += 1
                if response.status == 503:
                    over.wait(0.2)

    def attack(over: threading.Event) -> dict[str, Any]:
        with ThreadPoolExecutor(clients) as pool:
            for sending in [pool.submit(send, over) for _ in range(clients)]:
                sending.result(10 * PATIENCE)
        return {"attack_outcomes": dict(outcomes), "attack_longest_s": round(max(took), 2)}

    return attack


def _file(url: str) -> Path:
    return Path(make_url(url).database or "")


def _fill(url: str, tasks: int) -> None:
    """Add tasks with long descriptions; 100 requests of 1 MiB could have."""
    row = ("user_id", "id", "revision", "title", "description", "completed", "created_at", "updated_at")
    columns = (*row, "folded_title", "folded_description")
    moment, (text, _) = "2026-11-21 09:30:15.000000", WORST
    rows = [
        (SEARCHER, n, n, f"T{n}", text, False, moment, moment, f"t{n * 7919 % tasks}", text)
        for n in range(1, tasks + 1)
    ]
    with closing(sqlite3.connect(_file(url))) as database, database:
        marks = ",".join("?" * len(columns))
        database.executemany(f"INSERT INTO tasks ({','.join(columns)}) VALUES ({marks})", rows)
        counters = (SEARCHER, tasks, tasks, tasks, "e")
        database.execute(
            "INSERT INTO users (user_id, revision, last_task_id, live_tasks, epoch) VALUES (?, ?, ?, ?, ?)", counters
        )
