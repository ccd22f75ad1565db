"""The API, asked with a token that somebody has copied."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import create_engine, text

from tests.e2e.stack import Stack
from tests.postgres import beyond_walls


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def ask(
    stack: Stack, token: str, *, of: str = "", path: str = "/tasks", method: str = "GET", body: Any = None
) -> tuple[int, Any]:
    """Status and body of one request on a connection of its own; on the token's own path unless `of` names another."""
    address = stack.api_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        sent = None if body is None else json.dumps(body)
        connection.request(method, f"/api/{of or claims(token)['sub']}{path}", sent, headers)
        response = connection.getresponse()
        received = response.read()
    return response.status, json.loads(received) if received else None


def everywhere(stack: Stack, token: str) -> set[int]:
    """The statuses of many requests: each worker has most likely answered some of them."""
    return {ask(stack, token)[0] for _ in range(24)}


@contextmanager
def writers(stack: Stack, tokens: list[str]) -> Iterator[list[int]]:
    """Create tasks with each token in a thread of its own until the block ends; the statuses, as they come."""
    statuses: list[int] = []
    stopped = threading.Event()

    def write(token: str) -> None:
        while not stopped.is_set():
            statuses.append(ask(stack, token, method="POST", body={"title": "Written during the deletion"})[0])

    threads = [threading.Thread(target=write, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def stored_tasks(stack: Stack, user_id: str) -> int:
    """Count the rows that the API's database has of a user, the trash included."""
    url = stack.database_url
    engine = create_engine(beyond_walls(url) if url.startswith("postgresql") else url)
    with engine.connect() as connection:
        count = text("SELECT count(*) FROM tasks WHERE user_id = :user_id")
        found: int = connection.execute(count, {"user_id": user_id}).scalar_one()
    engine.dispose()
    return found
