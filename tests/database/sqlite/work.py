"""Units of work of a chosen duration on SQLite, and native threads that count their calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import text

from taskapi.auth.tokens import User
from taskapi.database.base import db
from taskapi.database.transactions import execute, reads, writes
from tests.waiting import WAIT_LIMIT

ALICE = User("alice")
COUNT = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < :n) SELECT count(*) FROM n")
LONG_COUNT, ENDLESS = 300_000, 20_000_000
"""Rows: longer than the worker's thread may take, and longer than any statement may."""

R = TypeVar("R")


class Threads:
    """Native threads, like those of a gevent worker, that count calls."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(4)
        self.calls = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def run(self, call: Callable[[], R], cancel: Callable[[], object]) -> R:
        self.calls += 1
        self.meanwhile()
        return self.pool.submit(call).result(WAIT_LIMIT)


@reads
def count(_owner: User, n: int) -> int:
    return int(execute(COUNT, {"n": n}).scalar_one())


@writes
def start(owner: User, n: int = 1) -> None:
    statement = "INSERT INTO users (user_id, revision, last_task_id, epoch) VALUES (:id, :n, 0, '')"
    execute(text(statement), {"id": owner.id, "n": execute(COUNT, {"n": n}).scalar_one()})


@reads
def revision(owner: User) -> int | None:
    found: int | None = execute(text("SELECT revision FROM users WHERE user_id = :id"), {"id": owner.id}).scalar()
    return found


def pool() -> Any:
    return db.engine.pool
