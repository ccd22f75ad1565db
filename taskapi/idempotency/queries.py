"""SQL of idempotency keys, executed in the transaction of the view whose response is stored.

Lock order: the row of the key (claims.py), the row of the user's counters (locked by the view), the user's `Usage` row,
then other rows of `StoredResponse`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..database import chunks
from ..database.base import db, now
from ..database.prepared import Prepared
from ..database.transactions import PURGE, execute, fetch, reads, rows, writes
from . import claims
from .claims import LIFETIME
from .models import StoredResponse, Usage

MAX_KEYS = 50_000
"""Maximum number of stored keys of a user: about one every two seconds for 24 hours."""

MAX_COPIED_BYTES = 8 * 1024 * 1024
"""Bytes of a user's stored bodies above which only the id of the task in a response is stored instead of the body."""

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Maximum bytes of a user's stored bodies, including reduced ones: ids of a batch, counts of an import."""


class KeyReused(Exception):
    """The key was used for a request with another fingerprint."""


class TooManyKeys(Exception):
    """The user's limit of stored keys or bytes is reached; the oldest key expires in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True)
class RecordedResponse:
    """The stored parts of a response.

    `reduced` is a smaller body without data of tasks, from which `Rebuild` restores the response; None if the body
    contains no data of tasks. For a response that is a single task, `task_id` is its id and `reduced` is empty.
    `replayed` is True if the response comes from the database.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    task_id: int | None = None
    reduced: bytes | None = None
    replayed: bool = False


Rebuild = Callable[[User, RecordedResponse], RecordedResponse]
"""Function that restores the complete response of a user from a reduced one, reading the current tasks."""


@writes
def run_once(
    user: User, key: str, fingerprint: str, work: Callable[[], RecordedResponse], rebuild: Rebuild
) -> RecordedResponse:
    """Call `work` and store its response in the same transaction, or return the response already stored for the key.

    `fingerprint` identifies the request. Raises `InFlight`, `KeyReused`, `TooManyKeys` and the exceptions of `work`:
    then the transaction is rolled back, nothing is stored, and the key can be used again. A reduced response is
    completed with `rebuild`, whose exceptions are raised.
    """
    row, is_new = claims.claim(user, key, fingerprint)
    if row is not None:
        if row.fingerprint != fingerprint:
            raise KeyReused
        stored = RecordedResponse(row.status, json.loads(row.headers), row.body, row.task_id, replayed=True)
        return rebuild(user, replace(stored, reduced=row.body)) if row.is_reduced else stored
    response = work()
    _store(user, key, response, is_new=is_new)
    return response


@reads
def is_stored(user: User, key: str) -> bool:
    """Return True if an unexpired response is stored for a key; the fingerprint is not compared."""
    own_key = (StoredResponse.user_id == user.id, StoredResponse.key == key)
    stored = select(StoredResponse.key).where(*own_key, StoredResponse.created_at > now() - LIFETIME)
    return execute(stored).first() is not None


def _store(user: User, key: str, response: RecordedResponse, *, is_new: bool) -> None:
    """Set the response in the row of the key that the caller's transaction has claimed. Raises `TooManyKeys`.

    `is_new` is False if the row had an expired response, and so is counted among the user's keys already.
    """
    body, is_reduced = _choose_body(user, key, response, keys=int(is_new))
    row = {
        "status": response.status,
        "headers": json.dumps(dict(response.headers)),
        "body": body,
        "created_at": now(),
        "task_id": response.task_id,
        "is_reduced": is_reduced,
    }
    execute(update(StoredResponse).where(StoredResponse.user_id == user.id, StoredResponse.key == key).values(row))


def _choose_body(user: User, key: str, response: RecordedResponse, *, keys: int) -> tuple[bytes, bool]:
    """Return (body to store, is_reduced), and add the body and `keys` to the user's usage; call it once per response.

    The response of a batch is always reduced (100 ids instead of up to 4 MB), that of one task if the stored bodies
    would exceed `MAX_COPIED_BYTES` with it, any other never. Over the user's limits, deletes expired keys; raises
    `TooManyKeys` if that is not enough.
    """
    is_reduced = response.reduced is not None and response.task_id is None
    body = response.reduced if response.reduced is not None and is_reduced else response.body
    usage = _add_usage(user, keys=keys, size=len(body))
    if response.reduced is not None and not is_reduced and usage.body_bytes > MAX_COPIED_BYTES:
        usage = _add_usage(user, size=len(response.reduced) - len(body))
        body, is_reduced = response.reduced, True
    if _exceeds_limits(usage):
        _purge_expired(user, key)
        if _exceeds_limits(_add_usage(user, size=len(body))):
            raise TooManyKeys(_seconds_until_expiry(user, key))
    return body, is_reduced


def _exceeds_limits(usage: Any) -> bool:
    """Return True if a `Usage` row, which includes the response to store, exceeds `MAX_KEYS` or `MAX_BODY_BYTES`."""
    return bool(usage.key_count > MAX_KEYS or usage.body_bytes > MAX_BODY_BYTES)


_KEYS, _SIZE = bindparam("keys", type_=BigInteger), bindparam("size", type_=BigInteger)
_UPSERT_USAGE = {
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
"""The statement of `_add_usage` for each dialect, by its name."""


def _add_usage(user: User, *, keys: int = 0, size: int = 0) -> Any:
    """Add keys and bytes (or subtract negative ones) to the user's `Usage` row, and return the updated row.

    Inserts the row if it does not exist. The row stays locked until the end of the transaction.
    """
    ((usage,),) = fetch(_UPSERT_USAGE[db.engine.dialect.name](owner=user.id, keys=keys, size=size))
    return usage


def _purge_expired(user: User, claimed: str) -> None:
    """Delete up to `CHUNK` expired keys of a user, the oldest first; `TooManyKeys` if there are keys, but none expired.

    Joins the caller's transaction. The `Usage` row is recomputed from the rest, in which the key `claimed` has no
    body yet: the caller adds that again.
    """
    if (seconds := _seconds_until_expiry(user, claimed)) > 0:
        raise TooManyKeys(seconds)
    _purge_chunk(user)


def _seconds_until_expiry(user: User, claimed: str) -> int:
    """Return the seconds until the oldest key but `claimed` expires: 0 without one, 0 or less if it has expired."""
    created_at = StoredResponse.created_at
    others = select(created_at).where(StoredResponse.user_id == user.id, StoredResponse.key != claimed)
    oldest = execute(others.order_by(created_at).limit(1)).scalar()
    return 0 if oldest is None else math.ceil((oldest + LIFETIME - now()).total_seconds())


@writes
def delete_all(user: User) -> None:
    """Delete all keys of a user, with their stored responses, and the user's `Usage` row.

    Joins the caller's transaction, if any; otherwise commits.
    """
    execute(delete(Usage).where(Usage.user_id == user.id))
    execute(delete(StoredResponse).where(StoredResponse.user_id == user.id))


@writes
def delete_task_content(user: User, task_id: int) -> None:
    """Empty the stored responses that are this one task, which has become a tombstone; a replay raises `TaskDeleted`.

    The keys remain, because their requests were executed. `Usage.body_bytes` is not reduced until expired keys of the
    user are purged. Joins the caller's transaction, if any; otherwise commits.
    """
    of_task = (StoredResponse.user_id == user.id, StoredResponse.task_id == task_id)
    with_data = (*of_task, StoredResponse.is_reduced.is_(False))
    execute(update(StoredResponse).where(*with_data).values(body=b"", is_reduced=True))


@reads
def task_ids_with_content(user: User) -> set[int]:
    """Return the ids of the user's tasks of which a stored response has a copy; reduced responses have none."""
    with_data = (
        *(StoredResponse.user_id == user.id, StoredResponse.task_id.is_not(None)),
        StoredResponse.is_reduced.is_(False),
    )
    return {row.task_id for row in execute(select(StoredResponse.task_id).where(*with_data).distinct())}


def users_due() -> list[User]:
    """Return all users that have expired keys, read in a unit of work of its own.

    The statement reads the rows of all users, so it runs with the row-level-security job of the purge.
    """
    expired = select(StoredResponse.user_id).where(StoredResponse.created_at <= now() - LIFETIME).distinct()
    return [User(row.user_id) for row in rows(expired, job=PURGE)]


def oldest_due() -> datetime | None:
    """Return since when the oldest expired key of all users is due for purge; None if there is none (job PURGE)."""
    oldest = select(func.min(StoredResponse.created_at)).where(StoredResponse.created_at <= now() - LIFETIME)
    (created,) = rows(oldest, job=PURGE)[0]
    return None if created is None else created + LIFETIME


def purge(user: User) -> int:
    """Delete a user's expired keys in transactions of up to `CHUNK` keys, with pauses; return how many were deleted."""
    return chunks.in_chunks(_purge_chunk, user)


@writes
def _purge_chunk(user: User) -> int:
    """Delete up to `CHUNK` expired keys of a user, the oldest first; return how many.

    Recomputes the `Usage` row from the remaining keys, or deletes it if none remains. Joins the caller's transaction,
    if any; otherwise commits.
    """
    _add_usage(user)  # lock the usage before the keys: the lock order of this module
    of_user, created_at = StoredResponse.user_id == user.id, StoredResponse.created_at
    expired = select(StoredResponse.key).where(of_user, created_at <= now() - LIFETIME)
    oldest = expired.order_by(created_at, StoredResponse.key).limit(chunks.CHUNK)
    deleted = execute(delete(StoredResponse).where(of_user, StoredResponse.key.in_(oldest))).rowcount
    size = func.coalesce(func.sum(func.length(StoredResponse.body)), 0)
    remaining = execute(
        select(func.count().label("keys"), size.label("size")).select_from(StoredResponse).where(of_user)
    ).one()
    if remaining.keys:
        values = {"key_count": remaining.keys, "body_bytes": remaining.size}
        execute(update(Usage).where(Usage.user_id == user.id).values(values))
    else:
        execute(delete(Usage).where(Usage.user_id == user.id))
    return deleted
