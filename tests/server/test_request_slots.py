"""Before a request takes its concurrency slot the event loop polls the sockets of all clients."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore

from taskapi.server.request_slots import limit_concurrency


def test_a_client_that_sends_its_next_request_at_once_is_not_served_again_before_others_are_received() -> None:
    order: list[str] = []
    client, server = socket.socketpair()

    def receive() -> None:
        server.recv(1)
        order.append("received")

    def application(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        order.append("served")
        return []

    def serve_two_requests() -> None:
        for _ in range(2):
            limited({"PATH_INFO": "/", "wsgi.input": None}, None)

    limited = limit_concurrency(application, BoundedSemaphore(1))
    receiving = gevent.spawn(receive)
    gevent.sleep(0)  # it waits for its socket
    client.send(b"x")
    with client, server:
        gevent.joinall([gevent.spawn(serve_two_requests), receiving], timeout=10, raise_error=True)
    assert order == ["served", "received", "served"]
