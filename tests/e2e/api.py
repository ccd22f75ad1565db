"""The API, asked with a token that somebody has copied."""

from __future__ import annotations

import base64
import http.client
import json
from contextlib import closing
from typing import Any

from tests.e2e.stack import Stack


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def ask(stack: Stack, token: str, *, of: str = "", path: str = "/tasks", method: str = "GET") -> tuple[int, Any]:
    """Status and body of one request on a connection of its own; on the token's own path unless `of` names another."""
    address = stack.api_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request(method, f"/api/{of or claims(token)['sub']}{path}", headers=headers)
        response = connection.getresponse()
        body = response.read()
    return response.status, json.loads(body) if body else None


def everywhere(stack: Stack, token: str) -> set[int]:
    """The statuses of many requests: each worker has most likely answered some of them."""
    return {ask(stack, token)[0] for _ in range(24)}
