"""Threaded servers in a thread of the tests, for clients that are programs of their own or http.client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer

from flask import Flask
from werkzeug.serving import make_server


@contextmanager
def serve(app: Flask) -> Iterator[int]:
    """Serve the application on a free port of 127.0.0.1, which is yielded."""
    with running(make_server("127.0.0.1", 0, app, threaded=True)) as port:
        yield port


@contextmanager
def running(server: HTTPServer) -> Iterator[int]:
    """Serve with a server that is bound; yield its port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
