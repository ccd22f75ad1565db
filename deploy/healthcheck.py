"""Health check of the API's image: exit with status 0 if `/healthz` is 200, otherwise with 1 and the reason."""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT = 4
"""Seconds; below the timeout of HEALTHCHECK in the Dockerfile."""


def problem(port: int) -> str | None:
    """Return why the service at this port is unhealthy, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no response: {type(error).__name__}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"status {status}"


if __name__ == "__main__":
    sys.exit(problem(int(os.environ.get("PORT") or 8000)))
