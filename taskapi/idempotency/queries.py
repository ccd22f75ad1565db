"""Every statement on idempotency keys, in the transaction of the work that they protect.

Locks are taken in this order: the user's counters (by the work), the user's `Usage`, then rows of keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..database.base import db, now
from ..database.prepared import Prepared
from ..database.unit_of_work import PURGE, execute, fetch, reads, rows, writes
from .models import StoredResponse, Usage

LIFETIME = timedelta(hours=24)

MAX_KEYS = 50_000
"""Keys that are stored for a user: one every two seconds, day and night."""

MAX_COPIED_BYTES = 8 * 1024 * 1024
"""Bytes of stored bodies up to which the response with a task is stored whole; beyond, only the task's id is."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Bytes of stored bodies of a user. What cannot be reduced counts as well: ids of a batch, numbers of an import."""


class InFlight(Exception):
    """The first request under this key is being carried out right now."""


class KeyReused(Exception):
    """The key belongs to another request."""


class TooManyKeys(Exception):
    """No further key of this user can be stored before the oldest expires, in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True)
class RecordedResponse:
    """A response, as far as it is stored; `reduced` is the body without content of tasks, None if it has none.

    Of a response that is one task, `task_id` names it, and the reduced body is empty.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    task_id: int | None = None
    reduced: bytes | None = None
    replayed: bool = False


Rebuild = Callable[[User, RecordedResponse], RecordedResponse]
"""Makes the whole response of a reduced one."""


@writes
def run_once(
    user: User, key: str, fingerprint: str, work: Callable[[], RecordedResponse], rebuild: Rebuild
) -> RecordedResponse:
    """Do the work and store its response, in one transaction; or return the response that was stored.

    Raises `InFlight`, `KeyReused`, `TooManyKeys`, and what the work raises: then nothing is stored, and the key is free
    again; and what `rebuild` raises.
    """
    _lock_key(user, key)
    mine = (StoredResponse.user_id == user.id, StoredResponse.key == key)
    found = execute(
        select(StoredResponse.__table__).where(*mine, StoredResponse.created_at > now() - LIFETIME)
    ).one_or_none()
    if found is not None:
        if found.fingerprint != fingerprint:
            raise KeyReused
        stored = RecordedResponse(found.status, json.loads(found.headers), found.body, found.task_id, replayed=True)
        return rebuild(user, replace(stored, reduced=found.body)) if found.is_reduced else stored
    answer = work()
    _store(user, key, fingerprint, answer)
    return answer


def _lock_key(user: User, key: str) -> None:
    """Let one request at a time work under a key; SQLite lets one write at a time anyway, the others wait."""
    if db.engine.dialect.name == "postgresql":
        # For the transaction only, so it holds behind a pooler and cannot be left behind.
        claimed = execute(select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"{user.id}\n{key}", 0))))
        if not claimed.scalar_one():
            raise InFlight


def _store(user: User, key: str, fingerprint: str, answer: RecordedResponse) -> None:
    body, is_reduced = _allocate(user, answer)
    expired = delete(StoredResponse).where(StoredResponse.user_id == user.id, StoredResponse.key == key)
    if execute(expired).rowcount:
        _count(user, keys=-1)
    row = {
        "status": answer.status,
        "headers": json.dumps(dict(answer.headers)),
        "body": body,
        "created_at": now(),
        "task_id": answer.task_id,
        "is_reduced": is_reduced,
    }
    execute(insert(StoredResponse).values(user_id=user.id, key=key, fingerprint=fingerprint, **row))


def _allocate(user: User, answer: RecordedResponse) -> tuple[bytes, bool]:
    """Count a response, and decide what is stored of it: the body, and whether that is the reduced one.

    The response of several tasks is always reduced: 100 ids instead of up to 4 MB. Raises `TooManyKeys`.
    """
    is_reduced = answer.reduced is not None and answer.task_id is None
    body = answer.reduced if answer.reduced is not None and is_reduced else answer.body
    usage = _count(user, keys=1, size=len(body))
    if answer.reduced is not None and not is_reduced and usage.body_bytes > MAX_COPIED_BYTES:
        usage = _count(user, size=len(answer.reduced) - len(body))
        body, is_reduced = answer.reduced, True
    if _is_full(usage):
        _free(user)
        if _is_full(_count(user, keys=1, size=len(body))):
            raise TooManyKeys(_seconds_until_expiry(user))
    return body, is_reduced


def _is_full(usage: Any) -> bool:
    return bool(usage.key_count > MAX_KEYS or usage.body_bytes > MAX_BODY_BYTES)


_KEYS, _SIZE = bindparam("keys", type_=BigInteger), bindparam("size", type_=BigInteger)
_COUNT = {
    dialect.__name__.rpartition(".")[2]: Prepared(
        dialect.insert(Usage)
        .values(user_id=bindparam("owner"), key_count=_KEYS, body_bytes=_SIZE)
        .on_conflict_do_update(
            index_elements=[Usage.user_id],
            set_={"key_count": Usage.key_count + _KEYS, "body_bytes": Usage.body_bytes + _SIZE},
        )
        .returning(Usage.key_count, Usage.body_bytes)
    )
    for dialect in (postgresql, sqlite)
}


def _count(user: User, *, keys: int = 0, size: int = 0) -> Any:
    """Add to the user's usage, and lock it until the end of the transaction; returns what it is now."""
    ((usage,),) = fetch(_COUNT[db.engine.dialect.name](owner=user.id, keys=keys, size=size))
    return usage


def _free(user: User) -> None:
    """Remove the user's expired keys without waiting for `flask purge`. Raises `TooManyKeys` if none is expired."""
    if (seconds := _seconds_until_expiry(user)) > 0:
        raise TooManyKeys(seconds)
    purge(user)


def _seconds_until_expiry(user: User) -> int:
    """The time until the user's oldest key expires."""
    created_at = StoredResponse.created_at
    oldest = execute(select(created_at).where(StoredResponse.user_id == user.id).order_by(created_at).limit(1)).scalar()
    return 0 if oldest is None else math.ceil((oldest + LIFETIME - now()).total_seconds())


@writes
def delete_all(user: User) -> None:
    """Remove every key of a user."""
    execute(delete(Usage).where(Usage.user_id == user.id))
    execute(delete(StoredResponse).where(StoredResponse.user_id == user.id))


@writes
def forget_content(user: User, task_id: int) -> None:
    """Remove the content of a task from the stored responses. The keys stay: their requests were carried out.

    The bytes are given back with the keys.
    """
    mine = (StoredResponse.user_id == user.id, StoredResponse.task_id == task_id)
    holding = (*mine, StoredResponse.is_reduced.is_(False))
    execute(update(StoredResponse).where(*holding).values(body=b"", is_reduced=True))


@reads
def tasks_with_content(user: User) -> set[int]:
    """The ids of the tasks of which stored responses hold content."""
    held = (
        *(StoredResponse.user_id == user.id, StoredResponse.task_id.is_not(None)),
        StoredResponse.is_reduced.is_(False),
    )
    return {row.task_id for row in execute(select(StoredResponse.task_id).where(*held).distinct())}


def users_due() -> list[User]:
    """Who has keys past their lifetime; about no user, so for the purge only."""
    due = select(StoredResponse.user_id).where(StoredResponse.created_at <= now() - LIFETIME).distinct()
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge(user: User) -> int:
    """Remove a user's keys that are past their lifetime, and count the others anew; returns how many are removed."""
    _count(user)
    mine = StoredResponse.user_id == user.id
    removed = execute(delete(StoredResponse).where(mine, StoredResponse.created_at <= now() - LIFETIME)).rowcount
    size = func.coalesce(func.sum(func.length(StoredResponse.body)), 0)
    left = execute(select(func.count().label("keys"), size.label("size")).select_from(StoredResponse).where(mine)).one()
    if left.keys:
        counted = {"key_count": left.keys, "body_bytes": left.size}
        execute(update(Usage).where(Usage.user_id == user.id).values(counted))
    else:
        execute(delete(Usage).where(Usage.user_id == user.id))
    return removed
