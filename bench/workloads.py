"""What is asked of everyone: the same requests, of the same users, about the same tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson

from .database import LONG, READERS, TASKS, WRITERS, user

CONNECTIONS = 16

SECRET = "a-secret-of-the-benchmark-that-is-long-enough"
ISSUER = "http://localhost:3000"

NEW = {"title": "Water the plants", "description": "The ones on the balcony too.", "tags": ["home"], "priority": "low"}


CHANGES = "/changes"
"""Stands beside the tasks and not below them; `since` is where the feed ends before the run."""


@dataclass(frozen=True)
class Step:
    """One request of a user; `task` is which of that user's tasks, from 1, and `path` goes on after that."""

    method: str
    number: int
    path: str = ""
    task: int | None = None
    body: Any = None
    keeps: bool = False
    """Whether the connection remembers the ETag of the answer."""
    polls: bool = False
    """Whether it is sent with the ETag that is remembered of this address."""
    tagged: bool = False
    """Whether it is sent with the ETag that the address had before the run."""


@dataclass(frozen=True)
class Workload:
    """`plans` are what connections repeat, one each if there are as many."""

    name: str
    title: str
    plans: list[list[Step]] = field(repr=False)
    session: bool = False
    """Whether a plan is to be walked from its beginning, as one user's session."""
    ours: bool = False
    """Whether only taskapi has such a request."""


def _each(users: range, step: Callable[[int], Step]) -> list[list[Step]]:
    return [[step(number) for number in users]]


def _sessions() -> list[list[Step]]:
    plans = []
    for connection in range(CONNECTIONS):
        number = WRITERS[connection * len(WRITERS) // CONNECTIONS]
        load = Step("GET", number, "?limit=20", keeps=True)
        poll = Step("GET", number, "?limit=20", keeps=True, polls=True)
        add = Step("POST", number, body=NEW)
        toggles = (Step("PATCH", number, "/complete", task=task) for task in (190, 191))
        plans.append([load, poll, add, poll, poll, add, poll, next(toggles), add, poll, next(toggles)])
    return plans


WORKLOADS = (
    Workload("list20", "list of 20 of 200", _each(READERS, lambda number: Step("GET", number, "?limit=20"))),
    Workload("list1000", "list of 1,000", _each(LONG, lambda number: Step("GET", number, "?limit=1000"))),
    Workload("get", "get one", _each(READERS, lambda number: Step("GET", number, task=number % TASKS + 1))),
    Workload(
        "poll20",
        "poll an unchanged list of 20",
        _each(READERS, lambda number: Step("GET", number, "?limit=20", tagged=True)),
    ),
    Workload(
        "poll1000",
        "poll an unchanged list of 1,000",
        _each(LONG, lambda number: Step("GET", number, "?limit=1000", tagged=True)),
    ),
    Workload(
        "delta",
        "delta with nothing new",
        _each(READERS, lambda number: Step("GET", number, CHANGES)),
        ours=True,
    ),
    Workload("create", "create", _each(WRITERS, lambda number: Step("POST", number, body=NEW))),
    Workload(
        "toggle", "toggle", _each(WRITERS, lambda number: Step("PATCH", number, "/complete", task=number % TASKS + 1))
    ),
    Workload("session", "session: load, 3 adds, 2 toggles, 5 polls", _sessions(), session=True),
)


def token(user_id: str) -> str:
    """A token as Better Auth makes it with a shared secret: of seven days, and naming its session."""
    now = int(time.time())
    claims = {"sub": user_id, "sid": f"s{user_id}", "iss": ISSUER, "aud": ISSUER, "iat": now, "exp": now + 7 * 86_400}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def headers(number: int) -> dict[str, str]:
    """What a frontend's client sends along."""
    return {"Authorization": f"Bearer {_token(number)}", "Accept": "application/json"}


_tokens: dict[int, str] = {}


def _token(number: int) -> str:
    return _tokens.setdefault(number, token(user(number)))


def as_lua(value: Any) -> str:
    """A literal of Lua."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[ {as_lua(key)} ] = {as_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(as_lua, value)) + "}"
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    return f"[==[{value}]==]" if isinstance(value, str) else str(value)


def encode(body: Any) -> str | None:
    """The body of a request."""
    return None if body is None else orjson.dumps(body).decode()
