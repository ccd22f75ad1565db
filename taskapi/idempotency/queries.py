"""Every statement on idempotency keys, in the transaction of the work that they protect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select

from ..auth.tokens import User
from ..db import PURGE, db, execute, now, rows, writes
from .models import Answered

LIFETIME = timedelta(hours=24)


class InFlight(Exception):
    """The first request under this key is being carried out right now."""


class Reused(Exception):
    """The key belongs to another request."""


@dataclass(frozen=True)
class Answer:
    """What of an answer is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    replayed: bool = False


@writes
def once(user: User, key: str, fingerprint: str, work: Callable[[], Answer]) -> Answer:
    """Do the work and keep its answer, in one transaction; or give the answer that was kept.

    Raises `InFlight`, `Reused`, and what the work raises: then nothing is kept, and the key is free again.
    """
    _claim(user, key)
    mine = (Answered.user_id == user.id, Answered.key == key)
    kept = execute(select(Answered.__table__).where(*mine, Answered.created_at > now() - LIFETIME)).one_or_none()
    if kept is not None:
        if kept.fingerprint != fingerprint:
            raise Reused
        return Answer(kept.status, json.loads(kept.headers), kept.body, replayed=True)
    answer = work()
    execute(delete(Answered).where(*mine))  # of yesterday
    row = {
        "status": answer.status,
        "headers": json.dumps(dict(answer.headers)),
        "body": answer.body,
        "created_at": now(),
    }
    execute(insert(Answered).values(user_id=user.id, key=key, fingerprint=fingerprint, **row))
    return answer


def _claim(user: User, key: str) -> None:
    """Let one request at a time work under a key; SQLite lets one write at a time anyway, the others wait."""
    if db.engine.dialect.name == "postgresql":
        # For the transaction only, so it holds behind a pooler and cannot be left behind.
        claimed = execute(select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"{user.id}\n{key}", 0))))
        if not claimed.scalar_one():
            raise InFlight


@writes
def forget(user: User) -> None:
    """Remove every key of a user."""
    execute(delete(Answered).where(Answered.user_id == user.id))


def users_due() -> list[User]:
    """Who has keys past their lifetime; about no user, so for the purge only."""
    due = select(Answered.user_id).where(Answered.created_at <= now() - LIFETIME).distinct()
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge(user: User) -> int:
    """Remove a user's keys that are past their lifetime; how many there were."""
    return execute(
        delete(Answered).where(Answered.user_id == user.id, Answered.created_at <= now() - LIFETIME)
    ).rowcount
