"""A psycopg connection that gives a silent server up: while it waits for results, and in psycopg's own methods."""

from __future__ import annotations

import os
import select
import socket
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout

from .pooling import Pooling

SERVER_TIMEOUT = 6
"""Seconds without any byte from the server after which a connection is given up. Longer than statement_timeout, so a
server that works cancels a slow statement itself before that."""

POLL_INTERVAL = 0.1
"""Seconds of one poll of the socket."""

R = TypeVar("R")


class ServerTimeoutConnection(psycopg.Connection[Any]):
    """A psycopg connection that raises ConnectionTimeout when the server sends nothing for `SERVER_TIMEOUT` seconds.

    `tcp_user_timeout` does not end such a wait: the kernel of a frozen server still acknowledges packets.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pooling = Pooling()

    def _wait_readable(self) -> None:
        """Wait for data or a reset by the server; raises `ConnectionTimeout` after `SERVER_TIMEOUT` seconds of silence.

        It sums up polls and does not read a clock: while other requests keep the process busy, nothing is polled, and
        that time must not count as silence of the server.
        """
        silence = 0.0
        while silence <= SERVER_TIMEOUT:
            try:
                self._poll_socket.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                silence = 0.0 if _is_readable(self.pgconn.socket) else silence + POLL_INTERVAL
            except ConnectionError:
                return  # the caller still has to read what was received before the reset
            else:
                return
        self._give_up()

    def _give_up(self) -> NoReturn:
        """Close, raise ConnectionTimeout, and let new connections try this server last, if there are several."""
        self.pooling.servers.report_silence(self)
        self.close()
        raise ConnectionTimeout("the server does not respond")

    @cached_property
    def _poll_socket(self) -> socket.socket:
        """A Python socket over a duplicate of libpq's descriptor: its recv is the cheapest wait, also with gevent."""
        duplicate = socket.socket(fileno=os.dup(self.pgconn.socket))
        duplicate.settimeout(POLL_INTERVAL)
        return duplicate

    def close(self) -> None:
        """Close the connection and the duplicate of its socket."""
        if "_poll_socket" in vars(self):
            self._poll_socket.close()
        super().close()

    def wait(self, gen: PQGen[R], interval: float = POLL_INTERVAL, timeout: float | None = None) -> R:
        """Wait for a psycopg operation and return its result.

        Without `timeout`, after `SERVER_TIMEOUT` seconds of silence closes the connection and raises
        `ConnectionTimeout`.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        return super().wait(self._with_server_timeout(gen, interval), interval)

    def _with_server_timeout(self, gen: PQGen[R], interval: float) -> PQGen[R]:
        """Wrap a psycopg wait generator; after `SERVER_TIMEOUT` of silence close and raise `ConnectionTimeout`.

        `interval` is the seconds of one wait. Returns the result of `gen`.
        """
        silence = 0.0
        result: R
        try:
            waiting_for = next(gen)
            while True:
                ready = yield waiting_for
                silence = 0.0 if ready or _is_readable(self.pgconn.socket) else silence + interval
                if silence > SERVER_TIMEOUT:
                    self._give_up()
                waiting_for = gen.send(ready)
        except StopIteration as end:
            result = end.value
        return result


def _is_readable(descriptor: int) -> bool:
    """Return True if a socket has data to read now; does not wait."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
