"""Clients of one user that request the largest responses and do not read them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing
from typing import Any

from tests.chaos.other_clients import MEMORY_LIMIT, probe_other_clients
from tests.chaos.service import CLIENT_TIMEOUT, Service
from tests.conftest import token

USER = "unread"
PATHS = ("/tasks", "/changes", "/export", "/tasks?trash=true&limit=20", "/tasks?sort=title", "/tasks?q=a")
TASKS, BATCH_SIZE = 1000, 20
DESCRIPTION = "\U0001f95b" * 10_000


def serve_beside_unread_responses(
    running: Service, *, connections: int, seconds: float, quiet: float = 3, tasks: int = TASKS
) -> dict[str, Any]:
    """Request a large response once per second on each connection without reading it, while others are probed."""
    _add_large_tasks(running, tasks)
    attack = UnreadResponses(running.port, connections)
    figures = {"connections": connections, **probe_other_clients(running, seconds, attack, quiet=quiet)}
    assert figures["memory_growth_mb"] < MEMORY_LIMIT, figures
    assert figures["requests"] >= connections, figures
    return figures


class UnreadResponses:
    """The attack: requests without reading the responses, until the event is set."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._count = connections

    def __call__(self, over: threading.Event) -> dict[str, Any]:
        """Send requests until `over` is set; return their number and that of connections that the server closed."""
        requests = [
            f"GET /api/{USER}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(USER)}\r\n\r\n".encode()
            for path in PATHS
        ]
        opened = [self._open() for _ in range(self._count)]
        sent = closed = 0
        while not over.is_set():
            for number, connection in enumerate(opened):
                try:
                    connection.send(requests[(number + sent // self._count) % len(requests)])
                    sent += 1
                except BlockingIOError:
                    continue  # the server has not read the previous request
                except OSError:
                    closed += 1
                    connection.close()
                    opened[number] = self._open()
            over.wait(1)
        for connection in opened:
            connection.close()
        return {"requests": sent, "closed_by_the_server": closed}

    def _open(self) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the kernel buffers little of a response
        connection.settimeout(CLIENT_TIMEOUT)
        connection.connect(("127.0.0.1", self._port))
        connection.setblocking(False)
        return connection


def _add_large_tasks(running: Service, count: int) -> None:
    """Create tasks with the longest description, in batches."""
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    operations = [{"op": "create", "task": {"title": "a", "description": DESCRIPTION}}] * BATCH_SIZE
    body = json.dumps({"operations": operations}, ensure_ascii=False).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=CLIENT_TIMEOUT)) as connection:
        for _ in range(count // BATCH_SIZE):
            connection.request("POST", f"/api/{USER}/tasks/batch", body, headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
