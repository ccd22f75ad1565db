"""Clients of one user that ask for the largest responses and do not read them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing
from typing import Any

from tests.chaos.neighbours import MEMORY_LIMIT, assert_neighbours_answered, assert_neighbours_served, probe_neighbours
from tests.chaos.service import PATIENCE, Service, service
from tests.conftest import token

USER = "unread"
PATHS = ("/tasks", "/changes", "/export", "/tasks?trash=true&limit=20", "/tasks?sort=title", "/tasks?q=a")
TASKS, OF_A_BATCH = 1000, 20
DESCRIPTION = "\U0001f95b" * 10_000


def serve_beside_unread_responses(
    url: str, *, connections: int, seconds: float, tasks: int = TASKS, measure: bool = True
) -> dict[str, Any]:
    """Connections that each ask for a large response once a second, without reading one, beside another client."""
    with service(url, workers=1) as running:
        _fill(running, tasks)
        attack = Unread(running.port, connections)
        figures = {"connections": connections, **probe_neighbours(running, seconds, attack)}
    (assert_neighbours_served if measure else assert_neighbours_answered)(figures)
    assert figures["memory_growth_mb"] < MEMORY_LIMIT, figures
    assert figures["requests"] >= connections, figures
    return figures


class Unread:
    """The attack."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._count = connections

    def __call__(self, over: threading.Event) -> dict[str, Any]:
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
                    continue  # the server has not taken the one before
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
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the kernel takes little of a response
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self._port))
        connection.setblocking(False)
        return connection


def _fill(running: Service, tasks: int) -> None:
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    operations = [{"op": "create", "task": {"title": "a", "description": DESCRIPTION}}] * OF_A_BATCH
    body = json.dumps({"operations": operations}, ensure_ascii=False).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)) as connection:
        for _ in range(tasks // OF_A_BATCH):
            connection.request("POST", f"/api/{USER}/tasks/batch", body, headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
