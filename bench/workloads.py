"""The workloads: the same requests of the same users about the same tasks for each contestant."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson

from .database import LONG_LISTS, READERS, TASKS, WRITERS, user

CONNECTIONS = 16

SECRET = "a-secret-of-the-benchmark-that-is-long-enough"
ISSUER = "http://localhost:3000"

NEW_TASK = {
    "title": "Water the plants",
    "description": "The ones on the balcony too.",
    "tags": ["home"],
    "priority": "low",
}


CHANGES = "/changes"
"""Path of the delta feed, relative to the user, not to /tasks; `since` is the end of the feed before the run."""


@dataclass(frozen=True)
class Step:
    """One request of the user `number`; `task` is the number of the user's task, from 1, and `path` follows it."""

    method: str
    number: int
    path: str = ""
    task: int | None = None
    body: Any = None
    keeps_etag: bool = False
    """True if the connection stores the ETag of the response."""
    sends_kept_etag: bool = False
    """True if the request sends the stored ETag of its path in If-None-Match."""
    sends_initial_etag: bool = False
    """True if the request sends the ETag that its path had before the run in If-None-Match."""


@dataclass(frozen=True)
class Workload:
    """A named list of plans: sequences of steps that connections repeat. The connections share out the plans."""

    name: str
    title: str
    plans: list[list[Step]] = field(repr=False)
    session: bool = False
    """True if a plan is one user's session and must start at its first step."""
    taskapi_only: bool = False
    """True if only taskapi has the endpoint."""


def _single_steps(users: range, step: Callable[[int], Step]) -> list[list[Step]]:
    """Return one plan with a step for each user."""
    return [[step(number) for number in users]]


def _sessions() -> list[list[Step]]:
    """Return a plan for each connection: the session of one user with loads, polls, creates and toggles."""
    plans = []
    for connection in range(CONNECTIONS):
        number = WRITERS[connection * len(WRITERS) // CONNECTIONS]
        load = Step("GET", number, "?limit=20", keeps_etag=True)
        poll = Step("GET", number, "?limit=20", keeps_etag=True, sends_kept_etag=True)
        add = Step("POST", number, body=NEW_TASK)
        toggles = (Step("PATCH", number, "/complete", task=task) for task in (190, 191))
        plans.append([load, poll, add, poll, poll, add, poll, next(toggles), add, poll, next(toggles)])
    return plans


WORKLOADS = (
    Workload("list20", "list of 20 of 200", _single_steps(READERS, lambda number: Step("GET", number, "?limit=20"))),
    Workload("list1000", "list of 1,000", _single_steps(LONG_LISTS, lambda number: Step("GET", number, "?limit=1000"))),
    Workload("get", "get one", _single_steps(READERS, lambda number: Step("GET", number, task=number % TASKS + 1))),
    Workload(
        "poll20",
        "poll an unchanged list of 20",
        _single_steps(READERS, lambda number: Step("GET", number, "?limit=20", sends_initial_etag=True)),
    ),
    Workload(
        "poll1000",
        "poll an unchanged list of 1,000",
        _single_steps(LONG_LISTS, lambda number: Step("GET", number, "?limit=1000", sends_initial_etag=True)),
    ),
    Workload(
        "delta",
        "delta with nothing new",
        _single_steps(READERS, lambda number: Step("GET", number, CHANGES)),
        taskapi_only=True,
    ),
    Workload("create", "create", _single_steps(WRITERS, lambda number: Step("POST", number, body=NEW_TASK))),
    Workload(
        "toggle",
        "toggle",
        _single_steps(WRITERS, lambda number: Step("PATCH", number, "/complete", task=number % TASKS + 1)),
    ),
    Workload("session", "session: load, 3 adds, 2 toggles, 5 polls", _sessions(), session=True),
)


def token(user_id: str) -> str:
    """Return a JWT as Better Auth signs it with a shared secret: valid for seven days, with the session id in `sid`."""
    now = int(time.time())
    claims = {"sub": user_id, "sid": f"s{user_id}", "iss": ISSUER, "aud": ISSUER, "iat": now, "exp": now + 7 * 86_400}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def headers(number: int) -> dict[str, str]:
    """Return the request headers of a frontend's client for a user."""
    return {"Authorization": f"Bearer {_token(number)}", "Accept": "application/json"}


_tokens: dict[int, str] = {}


def _token(number: int) -> str:
    """Return the cached token of a user."""
    return _tokens.setdefault(number, token(user(number)))


def as_lua(value: Any) -> str:
    """Return a value as a Lua literal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[ {as_lua(key)} ] = {as_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(as_lua, value)) + "}"
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    return f"[==[{value}]==]" if isinstance(value, str) else str(value)


def encode_body(body: Any) -> str | None:
    """Serialize the body of a request to JSON; None for no body."""
    return None if body is None else orjson.dumps(body).decode()
