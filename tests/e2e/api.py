"""Requests to the API with a copied access token, without a browser."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text

from tests.e2e.stack import Stack
from tests.gunicorn_server import CLIENT_TIMEOUT
from tests.postgres import as_superuser


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token without verifying it."""
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def send(
    stack: Stack, token: str, *, of: str = "", path: str = "/tasks", method: str = "GET", body: Any = None
) -> tuple[int, Any]:
    """Send a request on a new connection; return status and decoded body.

    `path` is relative to `/api/<user>`: the user of the token unless `of` names another.
    """
    api = urlsplit(stack.api_url)
    with closing(http.client.HTTPConnection(api.netloc, timeout=CLIENT_TIMEOUT)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        encoded = None if body is None else json.dumps(body)
        connection.request(method, f"{api.path}/api/{of or claims(token)['sub']}{path}", encoded, headers)
        response = connection.getresponse()
        received = response.read()
    return response.status, json.loads(received) if received else None


def statuses_of_workers(stack: Stack, token: str) -> set[int]:
    """Return the statuses of twelve requests: with high probability each of the two workers responded to some."""
    return {send(stack, token)[0] for _ in range(12)}


@contextmanager
def writers(stack: Stack, tokens: list[str]) -> Iterator[list[int]]:
    """Create tasks with each token in a thread until the block ends; yield the growing list of statuses."""
    statuses: list[int] = []
    stopped = threading.Event()

    def write(token: str) -> None:
        while not stopped.is_set():
            statuses.append(send(stack, token, method="POST", body={"title": "Written during the deletion"})[0])
            time.sleep(0.01)

    threads = [threading.Thread(target=write, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def count_stored_tasks(stack: Stack, user_id: str) -> int:
    """Count the rows of a user in the database of the API, including the trash."""
    url = stack.database_url
    engine = create_engine(as_superuser(url) if url.startswith("postgresql") else url)
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM tasks WHERE user_id = :user_id")
        count: int = connection.execute(query, {"user_id": user_id}).scalar_one()
    engine.dispose()
    return count
